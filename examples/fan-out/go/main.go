// A fan-out: a payment goes to the topic of its country, and a copy to the audit.
package main

import (
	"errors"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

// Payment is what is looked at of a payment.
type Payment struct {
	Country string `json:"country"`
}

func init() { tidegate.Handle(fanOut) }

func main() {}

// fanOut answers a payment with two messages. Both are done, or the record is not.
func fanOut(record tidegate.Record) (tidegate.Messages, error) {
	var payment Payment
	err := record.DecodeJSON(&payment)
	if err != nil || payment.Country == "" {
		return tidegate.None(), tidegate.Reject(errors.New("the value is no payment with a country"))
	}
	topic := topicOf(payment.Country)
	toCountry := record.Forward().WithTopic(topic)
	toAudit := record.Forward().WithTopic("payments-audit").AddHeader("sent-to", []byte(topic))
	return tidegate.Many(toCountry, toAudit), nil
}

// topicOf chooses the topic. The topics are listed here and in allow-topics of the manifest. Never make
// one up from what a record says: a topic that is not allowed fails the whole call.
func topicOf(country string) string {
	switch country {
	case "DE":
		return "payments-de"
	case "FR":
		return "payments-fr"
	default:
		return "payments-other"
	}
}
