package main

import (
	"testing"

	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func TestAPaymentGoesToItsCountryAndToTheAudit(t *testing.T) {
	outcome := tidegatetest.Run(tidegatetest.Record{Value: []byte(`{"id": "p1", "country": "FR"}`)})

	if got := outcome.Messages[0].Topic; got != "payments-fr" {
		t.Errorf("the first topic is %s", got)
	}
	if got := outcome.Messages[1].Topic; got != "payments-audit" {
		t.Errorf("the second topic is %s", got)
	}
	if got, _ := outcome.Messages[1].Header("sent-to"); string(got) != "payments-fr" {
		t.Errorf("the audit says it was sent to %q", got)
	}
}

func TestWhatIsNoPaymentIsRejected(t *testing.T) {
	outcome := tidegatetest.Run(tidegatetest.Record{Value: []byte("no JSON")})

	if len(outcome.Failures) != 1 || !outcome.Failures[0].Reject {
		t.Errorf("it was not rejected: %+v", outcome.Failures)
	}
}
