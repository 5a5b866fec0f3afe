package tidegate_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func ExampleHandle() {
	shout := func(r tidegate.Record) (tidegate.Messages, error) {
		if r.Value() == nil {
			return tidegate.None(), nil
		}
		value := bytes.Clone(r.Value())
		for i, b := range value {
			if 'a' <= b && b <= 'z' {
				value[i] = b - 'a' + 'A'
			}
		}
		return tidegate.One(r.WithValue(value)), nil
	}
	// In a function, init calls tidegate.Handle(shout).

	outcome := tidegatetest.Handle(shout,
		tidegatetest.Record{Key: []byte("k"), Value: []byte("hello")},
		tidegatetest.Record{Key: []byte("k")},
	)
	for _, m := range outcome.Messages {
		fmt.Printf("%s: %s\n", m.Key, m.Value)
	}
	// Output:
	// k: HELLO
}

func ExampleHandleBatch() {
	names := func(keys [][]byte) (map[string]string, error) { // One request for all of them.
		return map[string]string{"7": "Ada"}, nil
	}
	handle := func(batch tidegate.Batch, outcome *tidegate.Outcome) error {
		var keys [][]byte
		for r := range batch.All() {
			keys = append(keys, r.Key())
		}
		found, err := names(keys)
		if err != nil {
			return err // All records are tried again.
		}
		for r := range batch.All() {
			if name, ok := found[string(r.Key())]; ok {
				outcome.Emit(r, r.WithValue([]byte(name)))
			} else {
				outcome.Fail(r, tidegate.Reject(errors.New("no such customer")))
			}
		}
		return nil
	}
	// In a function, init calls tidegate.HandleBatch(handle).

	outcome := tidegatetest.HandleBatch(handle,
		tidegatetest.Record{Key: []byte("7")},
		tidegatetest.Record{Key: []byte("8")},
	)
	fmt.Printf("%s\n", outcome.Messages[0].Value)
	fmt.Printf("%+v\n", outcome.Failures[0])
	// Output:
	// Ada
	// {Record:1 Reject:true Reason:no such customer}
}

func ExampleHandleJSON() {
	type Order struct {
		Amount uint64 `json:"amount"`
		Price  uint64 `json:"price"`
	}
	type Priced struct {
		Total uint64 `json:"total"`
	}
	price := func(order Order, _ tidegate.Record) (*Priced, error) {
		if order.Amount == 0 {
			return nil, nil // No message.
		}
		return &Priced{Total: order.Amount * order.Price}, nil
	}
	// In a function, init calls tidegate.HandleJSON(price).

	outcome := tidegatetest.HandleJSON(price,
		tidegatetest.Record{Value: []byte(`{"amount": 3, "price": 14}`)},
		tidegatetest.Record{Value: []byte(`{"amount": 0, "price": 14}`)},
		tidegatetest.Record{Value: []byte(`{"amount": 3,}`)},
	)
	for _, m := range outcome.Messages {
		fmt.Printf("%s\n", m.Value)
	}
	for _, f := range outcome.Failures {
		fmt.Println(f.Reason)
	}
	// Output:
	// {"total":42}
	// bad JSON in the value: invalid character '}' looking for beginning of object key string at line 1 column 14
}

func ExampleReject() {
	double := func(r tidegate.Record) (tidegate.Messages, error) {
		n, err := strconv.Atoi(string(r.Value()))
		if err != nil {
			return tidegate.None(), tidegate.Reject(err)
		}
		return tidegate.One(r.WithValue(strconv.AppendInt(nil, int64(2*n), 10))), nil
	}

	outcome := tidegatetest.Handle(double, tidegatetest.Record{Value: []byte("ten")})
	fmt.Println(outcome.Failures[0].Reject, outcome.Failures[0].Reason)
	// Output:
	// true strconv.Atoi: parsing "ten": invalid syntax
}

func ExampleMessage() {
	route := func(r tidegate.Record) (tidegate.Messages, error) {
		m := r.Forward().WithTopic("orders.large").WithKey([]byte("eu")).AddHeader("via", []byte("route"))
		return tidegate.One(m), nil
	}

	m := tidegatetest.Handle(route, tidegatetest.Record{Value: []byte("v")}).Messages[0]
	via, _ := m.Header("via")
	fmt.Printf("%s %s %s %s\n", m.Topic, m.Key, m.Value, via)
	// Output:
	// orders.large eu v route
}
