// A router: a header says which topic a record goes to.
package main

import tidegate "github.com/tidegate/tidegate/sdk-go"

func init() { tidegate.Handle(route) }

func main() {}

// route sends a record on as it is, to the topic of its region. Without a region that is known here no
// topic is named, and that is the output of the trigger. If there are several such headers, the first
// counts.
func route(record tidegate.Record) (tidegate.Messages, error) {
	region, _ := record.Header("region")
	switch string(region) {
	case "eu":
		return tidegate.One(record.Forward().WithTopic("requests-eu")), nil
	case "us":
		return tidegate.One(record.Forward().WithTopic("requests-us")), nil
	default:
		return tidegate.One(record.Forward()), nil
	}
}
