package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

// service starts a service that knows customer 7, and is down for customer 9. It notes what is asked for.
func service(t *testing.T) *[]string {
	asked := new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		switch r.URL.Path {
		case "/customers/7":
			fmt.Fprint(w, `{"id": "7", "name": "Ada", "city": "London"}`)
		case "/customers/9":
			panic(http.ErrAbortHandler)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	api = server.URL
	return asked
}

func ordersOf(customers ...string) tidegatetest.Outcome {
	var records []tidegatetest.Record
	for _, customer := range customers {
		order := fmt.Sprintf(`{"id": "a", "customer": %q, "amount": 500}`, customer)
		records = append(records, tidegatetest.Record{Value: []byte(order)})
	}
	return tidegatetest.Run(records...)
}

func TestACustomerIsAskedForOnce(t *testing.T) {
	asked := service(t)
	outcome := ordersOf("7", "7")

	for _, message := range outcome.Messages {
		expected := `{"id":"a","amount":500,"customer":{"id":"7","name":"Ada","city":"London"}}`
		if got := string(message.Value); got != expected {
			t.Errorf("an order became %s", got)
		}
	}
	if len(outcome.Messages) != 2 || !slices.Equal(*asked, []string{"/customers/7"}) {
		t.Errorf("asked for %q", *asked)
	}
}

func TestTroubleIsTriedAgainAndAnOrderOfNobodyIsRejected(t *testing.T) {
	service(t)
	expected := []tidegatetest.Failure{
		{Record: 0, Reason: "customer 9: no answer"},
		{Record: 1, Reject: true, Reason: "customer 8: nobody knows them"},
		{Record: 2, Reject: true, Reason: "order a is of no customer"},
	}
	if got := ordersOf("9", "8", "../7").Failures; !slices.Equal(got, expected) {
		t.Errorf("%+v", got)
	}
}

func TestAValueIsForgottenWhenItIsTooOldOrWhenThereAreTooMany(t *testing.T) {
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	cache := newCache[int](2, time.Minute)
	check := func(seconds int, id string, expected int) {
		t.Helper()
		if got, _ := cache.get(id, at(seconds)); got != expected {
			t.Errorf("%s after %d seconds is %d", id, seconds, got)
		}
	}
	cache.put("a", 1, at(0))
	cache.put("b", 2, at(30))
	check(59, "a", 1)
	check(59, "c", 0)
	check(60, "a", 0)
	check(60, "b", 2)
	cache.put("a", 3, at(60))
	cache.put("c", 4, at(60))
	check(60, "a", 3)
	check(60, "b", 0)
	check(60, "c", 4)
}
