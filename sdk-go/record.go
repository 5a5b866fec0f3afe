package tidegate

import (
	"fmt"
	"iter"
	"log/slog"
	"time"
)

// Record is a record read from Kafka.
//
// It is a small view, to be passed by value. The slices that it gives out lie in the memory of the
// batch, so they are valid until the function returns: [bytes.Clone] what must live longer.
// Appending to one never reaches its neighbour. A field may be written to in place, but then set it
// in the message: one that leaves the field as it is carries what was read from Kafka.
//
// What has no value in Kafka is nil; what is empty has length 0 and is not nil.
type Record struct {
	columns    *columns
	index      int32
	call       uint32
	headers    headersAt
	key, value []byte
}

// Index returns its place in the batch, from 0.
func (r Record) Index() int { return int(r.index) }

// Topic returns the name of the topic it was read from.
func (r Record) Topic() string { return r.columns.Topic }

// Partition returns the number of the partition it was read from, from 0.
func (r Record) Partition() int32 { return r.columns.Partition }

// Offset returns its offset in the partition.
func (r Record) Offset() int64 { return r.columns.Offsets[r.index] }

// Timestamp returns its timestamp, in UTC and to the millisecond. It is the zero time if the record
// has none.
func (r Record) Timestamp() time.Time {
	ms := r.columns.Timestamps[r.index]
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Attempt returns how often the record has been tried, this time included: 1 on the first try.
func (r Record) Attempt() uint32 { return r.columns.Attempts[r.index] }

// Key returns its key; nil if it has none.
func (r Record) Key() []byte { return r.key }

// Value returns its value; nil for a tombstone.
func (r Record) Value() []byte { return r.value }

// A Header is a header of a record or of a message.
type Header struct {
	// Name is any bytes: Kafka asks for UTF-8 but does not check it. A name is never null; nil is
	// the empty name.
	Name []byte
	// Value is nil if the header has none.
	Value []byte
}

// Headers iterates over its headers, in their order. Names may repeat.
func (r Record) Headers() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		h, at := &r.columns.Headers, r.headers
		for end := at.first + uint32(max(h.Counts[r.index], 0)); at.first < end; at.first++ {
			name := cut(&h.Names, int(at.first), &at.name)
			value := cut(&h.Values, int(at.first), &at.value)
			if !yield(Header{Name: name, Value: value}) {
				return
			}
		}
	}
}

// Header returns the value of the first of its headers with this name, and whether there is one.
// The value is nil if there is none or it is null.
func (r Record) Header(name string) (value []byte, ok bool) {
	for header := range r.Headers() {
		if string(header.Name) == name {
			return header.Value, true
		}
	}
	return nil, false
}

// Forward returns a message that is this record over again: key, value, headers and timestamp.
// What the message does not change is not copied.
func (r Record) Forward() Message { return Message{index: r.index, call: r.call} }

// WithValue returns this record with another value, as a message. A nil value is null: see
// [Message.WithValue].
func (r Record) WithValue(value []byte) Message {
	return Message{index: r.index, call: r.call, value: value, set: hasValue}
}

// WithKey returns this record with another key, as a message. A nil key is null.
func (r Record) WithKey(key []byte) Message {
	return Message{index: r.index, call: r.call, key: key, set: hasKey}
}

// String returns topic, partition and offset, as in "orders-3@42".
func (r Record) String() string {
	return fmt.Sprintf("%s-%d@%d", r.Topic(), r.Partition(), r.Offset())
}

// LogValue returns topic, partition and offset, so that
//
//	slog.Info("late", "record", r)
//
// says which record it was.
func (r Record) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("topic", r.Topic()),
		slog.Int64("partition", int64(r.Partition())),
		slog.Int64("offset", r.Offset()),
	)
}
