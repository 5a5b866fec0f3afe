package tidegatetest_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

// attempt is a function of a record; its init calls tidegate.Handle(attempt).
func attempt(r tidegate.Record) (tidegate.Messages, error) {
	return tidegate.One(r.Forward().AddHeader("attempt", strconv.AppendUint(nil, uint64(r.Attempt()), 10))), nil
}

func init() { tidegate.Handle(attempt) }

func ExampleRun() {
	outcome := tidegatetest.Run(tidegatetest.Record{
		Topic:   "orders",
		Offset:  42,
		Attempt: 2,
		Value:   []byte("v"),
	})
	attempt, _ := outcome.Messages[0].Header("attempt")
	fmt.Printf("%s %s\n", outcome.Messages[0].Value, attempt)
	// Output:
	// v 2
}

func ExampleHandle() {
	outcome := tidegatetest.Handle(attempt, tidegatetest.Record{}, tidegatetest.Record{})
	fmt.Println(len(outcome.Messages), len(outcome.Failures))
	// Output:
	// 2 0
}

func ExampleRecord_View() {
	record := tidegatetest.Record{Topic: "orders", Partition: 3, Offset: 42, Value: []byte("7")}
	var n int
	fmt.Println(record.View(), record.View().DecodeJSON(&n), n)
	// Output:
	// orders-3@42 <nil> 7
}

func TestOffsetsCountUp(t *testing.T) {
	var offsets []int64
	tidegatetest.HandleBatch(func(batch tidegate.Batch, _ *tidegate.Outcome) error {
		for r := range batch.All() {
			offsets = append(offsets, r.Offset())
		}
		return nil
	}, tidegatetest.Record{}, tidegatetest.Record{}, tidegatetest.Record{Offset: 9}, tidegatetest.Record{})
	if fmt.Sprint(offsets) != "[0 1 9 10]" {
		t.Error(offsets)
	}
}

func TestABatchIsOfOnePartition(t *testing.T) {
	for _, test := range []struct {
		want    string
		records []tidegatetest.Record
	}{
		{"tidegatetest: a batch has at least one record", nil},
		{"tidegatetest: the records of a batch are of one partition, but record 1 is of test-1 and not of test-0",
			[]tidegatetest.Record{{}, {Partition: 1}}},
		{"tidegatetest: the records of a batch are of one partition, but record 1 is of a-0 and not of test-0",
			[]tidegatetest.Record{{}, {Topic: "a"}}},
	} {
		func() {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("%v, want %s", got, test.want)
				}
			}()
			tidegatetest.Run(test.records...)
		}()
	}
}

func TestWritingToAFieldDoesNotChangeWhatIsForwarded(t *testing.T) {
	outcome := tidegatetest.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
		r.Value()[0] = 'x'
		return tidegate.Many(r.Forward(), r.WithValue(r.Value())), nil
	}, tidegatetest.Record{Value: []byte("abc")})
	if got := fmt.Sprintf("%s %s", outcome.Messages[0].Value, outcome.Messages[1].Value); got != "abc xbc" {
		t.Error(got)
	}
}

// Tests of functions may run side by side.
func TestFunctionsDoNotMeet(t *testing.T) {
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			value := strconv.Itoa(i)
			for range 100 {
				outcome := tidegatetest.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
					return tidegate.One(r.WithValue([]byte(value))), nil
				}, tidegatetest.Record{})
				if string(outcome.Messages[0].Value) != value {
					t.Fatalf("%s", outcome.Messages[0].Value)
				}
			}
		})
	}
}
