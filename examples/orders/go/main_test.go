package main

import (
	"testing"

	tidegate "github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func TestAnOrderIsPriced(t *testing.T) {
	three := uint64(3)
	order := Order{ID: "a1", Amount: 500, Quantity: &three, Currency: "EUR"}
	priced, err := price(order, tidegate.Record{})

	if err != nil || *priced != (Priced{Order: order, Tax: 285, Total: 1785}) {
		t.Errorf("it became %+v, %v", priced, err)
	}
}

func TestWhatIsNoSuchJSONIsRejectedWithThePlace(t *testing.T) {
	outcome := tidegatetest.Run(
		tidegatetest.Record{Value: []byte(`{"id": "a1", "amount": "five"}`)},
		tidegatetest.Record{Value: []byte(`no JSON`)},
		tidegatetest.Record{},
	)

	expected := []string{
		"bad JSON in the value: json: cannot unmarshal string into Go struct field Order.amount of type uint64 at line 1 column 29",
		"bad JSON in the value: invalid character 'o' in literal null (expecting 'u') at line 1 column 2",
		"the value is null, not JSON",
	}
	for i, failure := range outcome.Failures {
		if !failure.Reject || failure.Reason != expected[i] {
			t.Errorf("record %d: %+v", i, failure)
		}
	}
}
