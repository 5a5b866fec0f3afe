package tidegate_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

type order struct {
	ID     string `json:"id"`
	Amount uint32 `json:"amount"`
}

func TestDecodeJSONSaysWhereTheMistakeIs(t *testing.T) {
	for _, test := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"good", b(`{"id": "a1", "amount": 2}`), ""},
		{"null", nil, "the value is null, not JSON"},
		{"empty", b(""), "bad JSON in the value: unexpected end of JSON input at line 1 column 1"},
		{"cut", b("{\n\"id\": \"a1\""), "bad JSON in the value: unexpected end of JSON input at line 2 column 10"},
		{"syntax", b("{\"id\":\n \"a1\",\n x}"), "bad JSON in the value: invalid character 'x' looking for beginning of object key string at line 3 column 2"},
		{"trailing", b(`{} {}`), "bad JSON in the value: invalid character '{' after top-level value at line 1 column 4"},
		{"JSON null", b(" null\n"), "bad JSON in the value: null does not fit tidegate_test.order"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var into order
			err := tidegatetest.Record{Value: test.value}.View().DecodeJSON(&into)
			if test.want == "" {
				equal(t, "error", err, nil)
				equal(t, "order", into, order{ID: "a1", Amount: 2})
				return
			}
			var e *tidegate.Error
			if !errors.As(err, &e) || !e.IsReject() || err.Error() != test.want {
				t.Errorf("%v, want a reject: %s", err, test.want)
			}
		})
	}
}

func TestDecodeJSONOfAnotherShapeNamesTheField(t *testing.T) {
	var into order
	err := tidegatetest.Record{Value: b(`{"amount": "two"}`)}.View().DecodeJSON(&into)
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) || mismatch.Field != "amount" {
		t.Errorf("%v", err)
	}
	equal(t, "error", err.Error(), "bad JSON in the value: "+mismatch.Error()+" at line 1 column 16")
}

func TestDecodeJSONIsLenient(t *testing.T) {
	for value, want := range map[string]order{
		`{}`:                               {},
		`{"ID": "a1", "aMOUNT": 2}`:        {ID: "a1", Amount: 2},
		`{"amount": 1, "amount": 2}`:       {Amount: 2},
		`{"id": null, "amount": null}`:     {},
		`{"id": "\ud800"}`:                 {ID: "\ufffd"},
		"{\"id\": \"\xff\", \"other\": 1}": {ID: "\ufffd"},
	} {
		var into order
		equal(t, "error", tidegatetest.Record{Value: b(value)}.View().DecodeJSON(&into), nil)
		equal(t, "order of "+value, into, want)
	}
}

func TestDecodeJSONTakesNullWhereNilIsAValue(t *testing.T) {
	null := tidegatetest.Record{Value: b("null")}.View()
	var pointer *order
	var list []int
	var table map[string]int
	var whatever any
	var raw json.RawMessage
	for _, into := range []any{&pointer, &list, &table, &whatever, &raw} {
		if err := null.DecodeJSON(into); err != nil {
			t.Errorf("%T: %v", into, err)
		}
	}
}

func TestDecodingIntoNothingIsNoFaultOfTheRecord(t *testing.T) {
	for _, into := range []any{nil, order{}, (*order)(nil)} {
		for _, value := range []string{"null", "{}"} {
			err := tidegatetest.Record{Value: b(value)}.View().DecodeJSON(into)
			var e *tidegate.Error
			if err == nil || errors.As(err, &e) {
				t.Errorf("%T: %v, want an error that is no reject", into, err)
			}
		}
	}
}

func TestWithJSON(t *testing.T) {
	r := tidegatetest.Record{Key: b("k")}
	handle := func(r tidegate.Record) (tidegate.Messages, error) {
		m, err := r.WithJSON(order{ID: "a1", Amount: 2})
		return tidegate.One(m), err
	}
	got := tidegatetest.Handle(handle, r).Messages[0]
	equal(t, "value", string(got.Value), `{"id":"a1","amount":2}`)
	equal(t, "key", got.Key, b("k"))

	_, err := r.View().WithJSON(math.NaN())
	var e *tidegate.Error
	if !errors.As(err, &e) || !e.IsReject() {
		t.Errorf("%v, want a reject", err)
	}
	equal(t, "error", err.Error(), "the value cannot be written as JSON: json: unsupported value: NaN")
}

// The bytes are those that a function in Rust writes.
func TestJSONIsWrittenOnOneLineAndNotForHTML(t *testing.T) {
	for _, test := range []struct {
		v    any
		want string
	}{
		{"<a href='x'>&amp;</a>", `"<a href='x'>&amp;</a>"`},
		{map[string]any{"a<b": []string{">", "&"}}, `{"a<b":[">","&"]}`},
		{json.RawMessage("{\n  \"x\": \"<\"\n}"), `{"x":"<"}`},
		{"two\nlines\n", `"two\nlines\n"`},
		{nil, `null`},
	} {
		got := tidegatetest.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
			m, err := r.WithJSON(test.v)
			return tidegate.One(m), err
		}, tidegatetest.Record{})
		equal(t, "written", describe(got), []string{"0: " + test.want})
	}
	got := tidegatetest.HandleJSON(func(s string, _ tidegate.Record) (string, error) { return s, nil }, tidegatetest.Record{Value: b(`"<&>"`)})
	equal(t, "typed", describe(got), []string{`0: "<&>"`})
}

func TestHandleJSONReplacesTheValueOnly(t *testing.T) {
	source := tidegatetest.Record{Key: b("k"), Value: b(`{"id":"a1","amount":2}`), Headers: []tidegate.Header{{Name: b("h")}}}
	got := tidegatetest.HandleJSON(func(o order, r tidegate.Record) (order, error) {
		o.Amount += r.Attempt()
		return o, nil
	}, source)
	want := tidegatetest.Message{Partition: -1, Key: b("k"), Value: b(`{"id":"a1","amount":3}`), Headers: []tidegate.Header{{Name: b(""), Value: nil}}}
	want.Headers[0].Name = b("h")
	equal(t, "outcome", got, tidegatetest.Outcome{Messages: []tidegatetest.Message{want}})
}

func TestHandleJSONAnswersWithAnyNumberOfMessages(t *testing.T) {
	in := tidegatetest.Record{Value: b("2")}
	for name, test := range map[string]struct {
		got  tidegatetest.Outcome
		want []string
	}{
		"pointer":     {tidegatetest.HandleJSON(func(n int, _ tidegate.Record) (*int, error) { return &n, nil }, in), []string{"0: 2"}},
		"nil pointer": {tidegatetest.HandleJSON(func(int, tidegate.Record) (*int, error) { return nil, nil }, in), nil},
		"nil any":     {tidegatetest.HandleJSON(func(int, tidegate.Record) (any, error) { return nil, nil }, in), nil},
		"slice":       {tidegatetest.HandleJSON(func(n int, _ tidegate.Record) ([]int, error) { return []int{n, n}, nil }, in), []string{"0: [2,2]"}},
		"message": {tidegatetest.HandleJSON(func(_ int, r tidegate.Record) (tidegate.Message, error) {
			return r.WithValue(b("v")), nil
		}, in), []string{"0: v"}},
		"slice of messages": {tidegatetest.HandleJSON(func(_ int, r tidegate.Record) ([]tidegate.Message, error) {
			return []tidegate.Message{r.WithValue(b("v")), r.WithValue(b("w"))}, nil
		}, in), []string{"0: v", "0: w"}},
		"no slice of messages": {tidegatetest.HandleJSON(func(int, tidegate.Record) ([]tidegate.Message, error) { return nil, nil }, in), nil},
		"pointer to a message": {tidegatetest.HandleJSON(func(_ int, r tidegate.Record) (*tidegate.Message, error) {
			m := r.WithValue(b("v"))
			return &m, nil
		}, in), []string{"0: v"}},
		"no pointer to a message": {tidegatetest.HandleJSON(func(int, tidegate.Record) (*tidegate.Message, error) { return nil, nil }, in), nil},
		"messages": {tidegatetest.HandleJSON(func(_ int, r tidegate.Record) (tidegate.Messages, error) {
			return tidegate.Many(r.WithValue(b("v")), r.WithValue(b("w"))), nil
		}, in), []string{"0: v", "0: w"}},
		"error":     {tidegatetest.HandleJSON(func(int, tidegate.Record) (int, error) { return 1, errors.New("no") }, in), []string{"0 failed: no"}},
		"not JSON":  {tidegatetest.HandleJSON(func(float64, tidegate.Record) (float64, error) { return math.Inf(1), nil }, in), []string{"0 failed: the value cannot be written as JSON: json: unsupported value: +Inf"}},
		"tombstone": {tidegatetest.HandleJSON(func(n int, _ tidegate.Record) (int, error) { return n, nil }, tidegatetest.Record{}), []string{"0 failed: the value is null, not JSON"}},
	} {
		t.Run(name, func(t *testing.T) { equal(t, "outcome", describe(test.got), test.want) })
	}
}
