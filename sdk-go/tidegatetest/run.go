// Package tidegatetest tests functions on the host: no wasm, no Kafka, no runtime.
//
// [Run] gives the registered function records, as one batch, and says what comes of them; [Handle],
// [HandleBatch] and [HandleJSON] do so with a function that need not be registered.
//
// What only the runtime knows is not checked: which topics the trigger allows, how many partitions
// they have, how large a message may be, how long a call may take.
package tidegatetest

import (
	"fmt"
	"time"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// Record is a record to call a function with. The zero Record is the first one of partition 0 of
// the topic "test", at its first attempt, without key, value, headers and timestamp.
type Record struct {
	// Topic is the topic it was read from; "test" if empty.
	Topic string
	// Partition is the partition it was read from.
	Partition int32
	// Offset is its offset; if 0, one more than that of the record before it.
	Offset int64
	// Timestamp is its timestamp, cut to the millisecond. The zero time, like any before 1970: it
	// has none.
	Timestamp time.Time
	// Attempt is how often it has been tried, this time included; 1 if 0.
	Attempt uint32
	// Key is its key; nil is null.
	Key []byte
	// Value is its value; nil is null, a tombstone.
	Value []byte
	// Headers are its headers; a nil value is null.
	Headers []tidegate.Header
}

// View returns the record as a function takes it, to test what takes a [tidegate.Record] by itself.
// Unlike in a function it stays valid.
func (r Record) View() (view tidegate.Record) {
	HandleBatch(func(b tidegate.Batch, _ *tidegate.Outcome) error {
		view = b.Record(0)
		return nil
	}, r)
	return view
}

// Run calls the registered function once, with these records as one batch.
//
// It panics if there is no record, or if the records are not of one partition. A panic in the
// function is a failure, as in the runtime.
func Run(records ...Record) Outcome { return run(nil, records) }

// Handle calls a function of a record, as [Run] calls the registered one.
func Handle(handle func(tidegate.Record) (tidegate.Messages, error), records ...Record) Outcome {
	return run(func() { tidegate.Handle(handle) }, records)
}

// HandleBatch calls a function of a batch, as [Run] calls the registered one.
func HandleBatch(handle func(tidegate.Batch, *tidegate.Outcome) error, records ...Record) Outcome {
	return run(func() { tidegate.HandleBatch(handle) }, records)
}

// HandleJSON calls a function of typed JSON, as [Run] calls the registered one.
func HandleJSON[In, Out any](handle func(In, tidegate.Record) (Out, error), records ...Record) Outcome {
	return run(func() { tidegate.HandleJSON(handle) }, records)
}

func run(register func(), records []Record) Outcome {
	batch := batchOf(records)
	return read(batch, wire.Run(register, copyOf(batch)))
}

func batchOf(records []Record) wire.Batch {
	if len(records) == 0 {
		panic("tidegatetest: a batch has at least one record")
	}
	b := wire.Batch{Topic: topicOf(records[0]), Partition: records[0].Partition}
	offset := int64(-1)
	for i, r := range records {
		if topicOf(r) != b.Topic || r.Partition != b.Partition {
			panic(fmt.Sprintf("tidegatetest: the records of a batch are of one partition, but record %d is of %s-%d and not of %s-%d",
				i, topicOf(r), r.Partition, b.Topic, b.Partition))
		}
		offset++
		if r.Offset != 0 {
			offset = r.Offset
		}
		b.Offsets = append(b.Offsets, offset)
		b.Timestamps = append(b.Timestamps, max(r.Timestamp.UnixMilli(), wire.Unknown))
		b.Attempts = append(b.Attempts, max(r.Attempt, 1))
		add(&b.Keys, r.Key)
		add(&b.Values, r.Value)
		b.Headers.Counts = append(b.Headers.Counts, int32(len(r.Headers)))
		for _, h := range r.Headers {
			add(&b.Headers.Names, append([]byte{}, h.Name...))
			add(&b.Headers.Values, h.Value)
		}
	}
	return b
}

func topicOf(r Record) string {
	if r.Topic == "" {
		return "test"
	}
	return r.Topic
}

func add(c *wire.Column, value []byte) {
	if value == nil {
		c.Lens = append(c.Lens, wire.Null)
		return
	}
	c.Lens = append(c.Lens, int32(len(value)))
	c.Data = append(c.Data, value...)
}

// copyOf copies the bytes, because the function may write to those it is given, and the runtime
// has its own.
func copyOf(b wire.Batch) wire.Batch {
	for _, c := range []*wire.Column{&b.Keys, &b.Values, &b.Headers.Names, &b.Headers.Values} {
		c.Data = append([]byte(nil), c.Data...)
	}
	return b
}
