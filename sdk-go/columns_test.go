package tidegate_test

// What crosses the boundary, entry for entry.

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

func column(values ...[]byte) (c wire.Column) {
	for _, value := range values {
		if value == nil {
			c.Lens = append(c.Lens, -1)
			continue
		}
		c.Lens = append(c.Lens, int32(len(value)))
		c.Data = append(c.Data, value...)
	}
	return c
}

func b(text string) []byte { return []byte(text) }

// wireBatch is four records: null, empty and binary keys and values, and headers of which names
// repeat, are empty and are not UTF-8.
func wireBatch() wire.Batch {
	return wire.Batch{
		Topic:      "orders",
		Partition:  3,
		Offsets:    []int64{10, 11, 20, 21},
		Timestamps: []int64{1000, -1, 3000, 0},
		Attempts:   []uint32{1, 2, 3, 4},
		Keys:       column(nil, b(""), b("\xff\x00"), b("k")),
		Values:     column(b("first"), nil, b(""), b("\x00\xfe")),
		Headers: wire.Headers{
			Counts: []int32{0, 2, 0, 3},
			Names:  column(b("a"), b("a"), b("\xff\xfe"), b(""), b("z")),
			Values: column(b("1"), nil, b(""), b("\x00"), b("end")),
		},
	}
}

// outcomeOf calls a function of a batch with the batch above.
func outcomeOf(handle func(tidegate.Batch, *tidegate.Outcome)) *wire.Outcome {
	return wire.Run(func() {
		tidegate.HandleBatch(func(batch tidegate.Batch, outcome *tidegate.Outcome) error {
			handle(batch, outcome)
			return nil
		})
	}, wireBatch())
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %#v, want %#v", what, got, want)
	}
}

func headersOf(r tidegate.Record) (headers []tidegate.Header) {
	return slices.Collect(r.Headers())
}

func TestRecordsAreWhatCameByteForByte(t *testing.T) {
	check := func(t *testing.T, records []tidegate.Record) {
		for i, want := range []struct {
			key, value []byte
			headers    []tidegate.Header
		}{
			{nil, b("first"), nil},
			{b(""), nil, []tidegate.Header{{Name: b("a"), Value: b("1")}, {Name: b("a")}}},
			{b("\xff\x00"), b(""), nil},
			{b("k"), b("\x00\xfe"), []tidegate.Header{
				{Name: b("\xff\xfe"), Value: b("")}, {Name: b(""), Value: b("\x00")}, {Name: b("z"), Value: b("end")}}},
		} {
			r := records[i]
			equal(t, "index", r.Index(), i)
			equal(t, "key", r.Key(), want.key)
			equal(t, "value", r.Value(), want.value)
			equal(t, "headers", headersOf(r), want.headers)
		}
		for _, want := range []struct {
			record int
			name   string
			value  []byte
			ok     bool
		}{{1, "a", b("1"), true}, {3, "\xff\xfe", b(""), true}, {3, "", b("\x00"), true}, {0, "a", nil, false}, {3, "a", nil, false}} {
			value, ok := records[want.record].Header(want.name)
			equal(t, "header", value, want.value)
			equal(t, "header is there", ok, want.ok)
		}
	}
	t.Run("one after another", func(t *testing.T) {
		outcomeOf(func(batch tidegate.Batch, _ *tidegate.Outcome) { check(t, slices.Collect(batch.All())) })
	})
	t.Run("by index, backwards", func(t *testing.T) {
		outcomeOf(func(batch tidegate.Batch, _ *tidegate.Outcome) {
			records := make([]tidegate.Record, batch.Len())
			for i := batch.Len() - 1; i >= 0; i-- {
				records[i] = batch.Record(i)
			}
			check(t, records)
		})
	})
	t.Run("of a function of a record", func(t *testing.T) {
		var records []tidegate.Record
		wire.Run(func() {
			tidegate.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
				records = append(records, r)
				return tidegate.None(), nil
			})
		}, wireBatch())
		check(t, records)
	})
}

func TestRecordsKnowTheirCoordinates(t *testing.T) {
	outcomeOf(func(batch tidegate.Batch, _ *tidegate.Outcome) {
		equal(t, "length", batch.Len(), 4)
		equal(t, "topic", batch.Topic(), "orders")
		equal(t, "partition", batch.Partition(), 3)
		timestamps := []time.Time{time.UnixMilli(1000).UTC(), {}, time.UnixMilli(3000).UTC(), time.UnixMilli(0).UTC()}
		for r := range batch.All() {
			i := r.Index()
			equal(t, "topic", r.Topic(), "orders")
			equal(t, "partition", r.Partition(), 3)
			equal(t, "offset", r.Offset(), []int64{10, 11, 20, 21}[i])
			equal(t, "timestamp", r.Timestamp(), timestamps[i])
			equal(t, "attempt", r.Attempt(), uint32(i+1))
		}
		equal(t, "string", batch.Record(2).String(), "orders-3@20")
		equal(t, "log value", batch.Record(2).LogValue().String(), "[topic=orders partition=3 offset=20]")
	})
}

func TestAppendingToAFieldDoesNotReachItsNeighbours(t *testing.T) {
	outcomeOf(func(batch tidegate.Batch, _ *tidegate.Outcome) {
		for r := range batch.All() {
			_ = append(r.Key(), "overwritten"...)
			_ = append(r.Value(), "overwritten"...)
			for h := range r.Headers() {
				_ = append(h.Name, "overwritten"...)
				_ = append(h.Value, "overwritten"...)
			}
		}
		equal(t, "value", batch.Record(3).Value(), b("\x00\xfe"))
		equal(t, "key", batch.Record(3).Key(), b("k"))
		equal(t, "headers", headersOf(batch.Record(3)), []tidegate.Header{
			{Name: b("\xff\xfe"), Value: b("")}, {Name: b(""), Value: b("\x00")}, {Name: b("z"), Value: b("end")}})
	})
}

func TestWhatIsAsInTheSourceIsNotSent(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		for r := range batch.All() {
			outcome.Emit(r, r.Forward())
		}
	})
	equal(t, "sources", outcome.Sources, []uint32{0, 1, 2, 3})
	for _, c := range outcome.Columns() {
		equal(t, "entries", len(c.Lens)+len(c.Data), 0)
	}
	equal(t, "entries", len(outcome.Partitions)+len(outcome.Timestamps)+len(outcome.Headers.Counts)+len(outcome.Failures), 0)
}

func TestAColumnAppearsWithTheFirstMessageThatDiffers(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		message := func(i int) tidegate.Message { return batch.Record(i).Forward() }
		outcome.Emit(batch.Record(0), message(0))
		outcome.Emit(batch.Record(1), message(1).WithValue(b("new")).WithKey(b("\xff\x00")))
		outcome.Emit(batch.Record(2), message(2).WithoutValue().WithTopic("other").WithPartition(7))
		outcome.Emit(batch.Record(3), batch.Record(3).WithKey(nil).WithValue(b("")).WithTimestamp(time.UnixMilli(5)))
		outcome.Emit(batch.Record(3), message(3).WithoutKey())
	})
	equal(t, "values", outcome.Values, wire.Column{Lens: []int32{-2, 3, -1, 0, -2}, Data: b("new")})
	equal(t, "keys", outcome.Keys, wire.Column{Lens: []int32{-2, 2, -2, -1, -1}, Data: b("\xff\x00")})
	equal(t, "topics", outcome.Topics, wire.Column{Lens: []int32{-1, -1, 5, -1, -1}, Data: b("other")})
	equal(t, "partitions", outcome.Partitions, []int32{-1, -1, 7, -1, -1})
	equal(t, "timestamps", outcome.Timestamps, []int64{-2, -2, -2, 5, -2})
	equal(t, "header counts", len(outcome.Headers.Counts), 0)
}

func TestHeadersAreAddedBehindThoseOfTheSourceOrReplaceThem(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		r := batch.Record(3)
		outcome.Emit(r, r.Forward())
		outcome.Emit(r, r.Forward().AddHeader("x", b("1")).AddHeader("x", nil))
		outcome.Emit(r, r.Forward().WithoutHeaders().AddHeader("y", b("")))
		outcome.Emit(r, r.Forward().WithHeaders(headersOf(batch.Record(1))...))
		outcome.Emit(r, r.Forward().WithoutHeaders())
	})
	equal(t, "sources", outcome.Sources, []uint32{3, 3, 3, 3, 3})
	equal(t, "headers", outcome.Headers, wire.Headers{
		Counts: []int32{-2, 5, 1, 2, 0},
		Names:  wire.Column{Lens: []int32{2, 0, 1, 1, 1, 1, 1, 1}, Data: b("\xff\xfezxxyaa")},
		Values: wire.Column{Lens: []int32{0, 1, 3, 1, -1, 0, 1, -1}, Data: b("\x00end11")},
	})
	equal(t, "values", len(outcome.Values.Lens), 0)
}

func TestNumbersThatMeanSomethingElseCannotSlipThrough(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		r := batch.Record(0)
		outcome.Emit(r, r.Forward().WithTimestamp(time.UnixMilli(-2)).WithPartition(-2))
		outcome.Emit(r, r.Forward().WithoutTimestamp().WithPartition(0))
		outcome.Emit(r, r.Forward().WithTimestamp(time.Time{}).WithPartition(4).WithPartition(-1))
		outcome.Emit(r, r.Forward().WithTopic("t").WithTopic(""))
	})
	equal(t, "timestamps", outcome.Timestamps, []int64{-1, -1, -1, -2})
	equal(t, "partitions", outcome.Partitions, []int32{-1, 0, -1, -1})
	equal(t, "topics", len(outcome.Topics.Lens), 0)
}

func TestMessagesEmittedOutOfOrderArePutInTheOrderOfTheirRecords(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		outcome.Emit(batch.Record(3), tidegate.NewMessage(b("d0")).AddHeader("h", b("last")))
		outcome.Emit(batch.Record(1), tidegate.NewMessage(b("b0")).WithTopic("t"))
		outcome.Emit(batch.Record(3), batch.Record(3).Forward().WithPartition(1))
		outcome.Emit(batch.Record(1), tidegate.NewMessage(nil).WithoutHeaders().AddHeader("n", b("v")))
		outcome.Emit(batch.Record(0), batch.Record(0).Forward().WithTimestamp(time.UnixMilli(9)))
	})
	equal(t, "sources", outcome.Sources, []uint32{0, 1, 1, 3, 3})
	equal(t, "values", outcome.Values, wire.Column{Lens: []int32{-2, 2, -1, 2, -2}, Data: b("b0d0")})
	equal(t, "topics", outcome.Topics, wire.Column{Lens: []int32{-1, 1, -1, -1, -1}, Data: b("t")})
	equal(t, "partitions", outcome.Partitions, []int32{-1, -1, -1, -1, 1})
	equal(t, "timestamps", outcome.Timestamps, []int64{9, -2, -2, -2, -2})
	equal(t, "headers", outcome.Headers, wire.Headers{
		Counts: []int32{-2, -2, 1, 4, -2},
		Names:  wire.Column{Lens: []int32{1, 2, 0, 1, 1}, Data: b("n\xff\xfezh")},
		Values: wire.Column{Lens: []int32{1, 0, 1, 3, 4}, Data: b("v\x00endlast")},
	})
	equal(t, "keys", len(outcome.Keys.Lens), 0)
}

func TestAMessageOfOneRecordEmittedForAnotherKeepsWhatItHad(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		outcome.Emit(batch.Record(0), batch.Record(3).Forward().AddHeader("x", b("1")))
		outcome.Emit(batch.Record(1), batch.Record(0).WithValue(b("v")))
		// Made from no record: as in the one that it is emitted for.
		outcome.Emit(batch.Record(2), tidegate.NewMessage(b("v")))
		outcome.Emit(batch.Record(3), tidegate.Message{})
		outcome.Emit(batch.Record(3), batch.Record(1).Forward())
	})
	equal(t, "keys", outcome.Keys, wire.Column{Lens: []int32{1, -1, -2, -2, 0}, Data: b("k")})
	equal(t, "values", outcome.Values, wire.Column{Lens: []int32{2, 1, 1, -2, -1}, Data: b("\x00\xfevv")})
	equal(t, "timestamps", outcome.Timestamps, []int64{0, 1000, -2, -2, -1})
	equal(t, "header counts", outcome.Headers.Counts, []int32{4, 0, -2, -2, 2})
	equal(t, "header names", outcome.Headers.Names.Data, b("\xff\xfezxaa"))
}

func TestMessagesMadeFromOneDoNotShareTheirHeaders(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		base := tidegate.NewMessage(b("v")).WithoutHeaders().AddHeader("a", nil).AddHeader("b", nil).AddHeader("c", nil)
		first, second := base.AddHeader("1", nil), base.AddHeader("2", nil)
		outcome.Emit(batch.Record(0), first)
		outcome.Emit(batch.Record(0), second)
	})
	equal(t, "names", outcome.Headers.Names.Data, b("abc1abc2"))
}

func TestARecordFailsOnceWithItsFirstError(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		outcome.Fail(batch.Record(2), tidegate.Reject(errors.New("first")))
		outcome.Fail(batch.Record(0), errors.New("later"))
		outcome.Fail(batch.Record(2), errors.New("second"))
	})
	equal(t, "failures", outcome.Failures, []wire.Failure{
		{Source: 0, Kind: wire.Retry, Reason: "later"}, {Source: 2, Kind: wire.Reject, Reason: "first"}})
}

func TestAReasonIsUTF8(t *testing.T) {
	outcome := outcomeOf(func(batch tidegate.Batch, outcome *tidegate.Outcome) {
		outcome.Fail(batch.Record(0), errors.New("no \xff such"))
	})
	equal(t, "reason", outcome.Failures[0].Reason, "no \uFFFD such")
}
