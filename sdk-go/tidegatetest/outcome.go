package tidegatetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// Outcome is what a call ended in.
type Outcome struct {
	// Messages are the messages, in the order in which they are produced. Those of a record that
	// failed are left out, as the runtime does.
	Messages []Message
	// Failures are the records that failed, in their order.
	Failures []Failure
}

// Message is a message as it would be produced: what is as in the source record is filled in.
type Message struct {
	// Record is the index of the record it comes from.
	Record int
	// Topic is the topic; empty: the trigger's output.
	Topic string
	// Partition is the partition; -1: chosen by its key.
	Partition int32
	// Timestamp is the timestamp in UTC; the zero time: the time of producing.
	Timestamp time.Time
	// Key is the key; nil is null.
	Key []byte
	// Value is the value; nil is null.
	Value []byte
	// Headers are the headers; a nil value is null.
	Headers []tidegate.Header
}

// Header returns the value of the first header with this name, and whether there is one. The value
// is nil if there is none or it is null.
func (m Message) Header(name string) (value []byte, ok bool) {
	for _, h := range m.Headers {
		if string(h.Name) == name {
			return h.Value, true
		}
	}
	return nil, false
}

// Failure is a record that was not handled.
type Failure struct {
	// Record is the index of the record.
	Record int
	// Reject says that the record is given up; otherwise it is tried again.
	Reject bool
	// Reason is the text of the error, or the message and stack of the panic.
	Reason string
}

// read reads an outcome by the rules of the contract.
func read(b wire.Batch, o *wire.Outcome) Outcome {
	var out Outcome
	failed := map[int]bool{}
	for _, f := range o.Failures {
		out.Failures = append(out.Failures, Failure{Record: int(f.Source), Reject: f.Kind == wire.Reject, Reason: f.Reason})
		failed[int(f.Source)] = true
	}
	keys, values, headers := cellsOf(b.Keys), cellsOf(b.Values), headersOf(b.Headers)
	for _, m := range messagesOf(o) {
		if failed[m.Record] {
			continue
		}
		if ms := b.Timestamps[m.Record]; m.timestamp == wire.OfSource {
			m.Timestamp = timeOf(ms)
		} else {
			m.Timestamp = timeOf(m.timestamp)
		}
		m.Key = m.key.or(keys[m.Record])
		m.Value = m.value.or(values[m.Record])
		if m.headersAsInSource {
			m.Headers = headers[m.Record]
		}
		out.Messages = append(out.Messages, m.Message)
	}
	return out
}

// unresolved is a message of which some fields are as in the source record.
type unresolved struct {
	Message
	timestamp         int64
	key, value        cell
	headersAsInSource bool
}

func messagesOf(o *wire.Outcome) []unresolved {
	if !slices.IsSorted(o.Sources) {
		panic("tidegatetest: a bug in the SDK: the sources descend")
	}
	n := len(o.Sources)
	messages := make([]unresolved, n)
	topics, keys, values := optional(cellsOf(o.Topics), n), optional(cellsOf(o.Keys), n), optional(cellsOf(o.Values), n)
	partitions, timestamps := optional(o.Partitions, n), optional(o.Timestamps, n)
	counts, headers := optional(o.Headers.Counts, n), headersOf(o.Headers)
	for i, source := range o.Sources {
		m := &messages[i]
		m.Record, m.Partition, m.timestamp = int(source), wire.ByKey, wire.OfSource
		m.key.asInSource, m.value.asInSource, m.headersAsInSource = true, true, true
		if topics != nil {
			m.Topic = string(topics[i].bytes)
		}
		if partitions != nil {
			m.Partition = partitions[i]
		}
		if timestamps != nil {
			m.timestamp = timestamps[i]
		}
		if keys != nil {
			m.key = keys[i]
		}
		if values != nil {
			m.value = values[i]
		}
		if counts != nil {
			m.headersAsInSource = counts[i] == wire.AsInSource
			m.Headers = headers[i]
		}
	}
	return messages
}

// optional checks that a list has an entry for each message, or none at all.
func optional[T any](list []T, n int) []T {
	if len(list) != 0 && len(list) != n {
		panic(fmt.Sprintf("tidegatetest: a bug in the SDK: %d entries for %d messages", len(list), n))
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

// cell is one value of a column.
type cell struct {
	bytes      []byte
	asInSource bool
}

func (c cell) or(source cell) []byte {
	if c.asInSource {
		return source.bytes
	}
	return c.bytes
}

func cellsOf(c wire.Column) []cell {
	cells := make([]cell, len(c.Lens))
	end := 0
	for i, n := range c.Lens {
		cells[i].asInSource = n == wire.AsInSource
		if n >= 0 {
			cells[i].bytes = append([]byte{}, c.Data[end:end+int(n)]...)
			end += int(n)
		}
	}
	if end != len(c.Data) {
		panic("tidegatetest: a bug in the SDK: lengths that do not add up")
	}
	return cells
}

func headersOf(h wire.Headers) [][]tidegate.Header {
	names, values := cellsOf(h.Names), cellsOf(h.Values)
	headers := make([][]tidegate.Header, len(h.Counts))
	end := 0
	for i, n := range h.Counts {
		for range max(n, 0) {
			headers[i] = append(headers[i], tidegate.Header{Name: names[end].bytes, Value: values[end].bytes})
			end++
		}
	}
	if end != len(names) || end != len(values) {
		panic("tidegatetest: a bug in the SDK: counts that do not add up")
	}
	return headers
}

func timeOf(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
