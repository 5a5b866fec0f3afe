package tidegate

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// Outcome is what a call ends in: messages, and the records that failed. A function of a batch
// fills it. It is valid until the function returns, and is for one goroutine at a time.
//
// It has at most 1,048,576 messages, and they take at most 64 MiB, what they have of their source
// records included. One that is larger fails the whole call, as the end of the instance does.
//
// It is built column by column, and a column in which no message differs from its source record
// stays empty: a record that is forwarded is one number.
type Outcome struct {
	batch   *columns
	wire    wire.Outcome
	present fields // the columns that are not empty
	// outOfOrder says that a message was emitted behind one of a later record.
	outOfOrder bool
}

// Emit emits a message for a record.
//
// The message is produced if the record was handled: if the record fails, before or after, its
// messages are thrown away. The messages of a record are produced in the order in which they were
// emitted, those of different records in the order of the records.
//
// What the message does not set is as in the record that it was made from, if it was made from
// one, and otherwise as in this one.
//
// Emit panics if the record or the message was kept from an earlier call.
func (o *Outcome) Emit(r Record, m Message) {
	o.check(r)
	if n := len(o.wire.Sources); n > 0 && o.wire.Sources[n-1] > uint32(r.index) {
		o.outOfOrder = true
	}
	o.emit(&r, &m)
}

// Fail fails a record: see [Error] for what becomes of it. If a record is failed twice, the first
// error counts.
//
// Fail panics if the error is nil, or if the record was kept from an earlier call.
func (o *Outcome) Fail(r Record, err error) {
	o.check(r)
	if err == nil {
		panic("tidegate: Fail with a nil error")
	}
	o.fail(int(r.index), err)
}

func (o *Outcome) check(r Record) {
	if r.call != o.batch.call {
		panic("tidegate: a record was kept from an earlier call")
	}
}

func (o *Outcome) emit(r *Record, m *Message) {
	if m.call != 0 && (m.index != r.index || m.call != r.call) {
		o.emitForAnother(r, m)
		return
	}
	before := len(o.wire.Sources)
	o.wire.Sources = append(o.wire.Sources, uint32(r.index))
	if m.set|o.present == 0 {
		return
	}
	if missing := m.set &^ o.present; missing != 0 {
		o.open(missing, before)
	}
	if o.present&hasValue != 0 {
		addField(&o.wire.Values, m.set&hasValue != 0, m.value)
	}
	if o.present&hasKey != 0 {
		addField(&o.wire.Keys, m.set&hasKey != 0, m.key)
	}
	if o.present&^(hasKey|hasValue) != 0 {
		o.addOthers(r, m)
	}
}

// emitForAnother emits a message that was made from another record.
func (o *Outcome) emitForAnother(r *Record, m *Message) {
	if m.call != o.batch.call {
		panic("tidegate: a message was kept from an earlier call")
	}
	spelled := m.spelledOut(o.batch.record(int(m.index)))
	o.emit(r, &spelled)
}

// addOthers adds what most messages leave as it is.
func (o *Outcome) addOthers(r *Record, m *Message) {
	if o.present&hasHeaders != 0 {
		o.addHeaders(r, m)
	}
	if o.present&hasTopic != 0 {
		addTopic(&o.wire.Topics, m.topic)
	}
	if o.present&hasPartition != 0 {
		o.wire.Partitions = append(o.wire.Partitions, pick(m.set&hasPartition != 0, m.partition, wire.ByKey))
	}
	if o.present&hasTimestamp != 0 {
		o.wire.Timestamps = append(o.wire.Timestamps, pick(m.set&hasTimestamp != 0, m.timestamp, wire.OfSource))
	}
}

// open gives the messages that came before a column was needed their entries in it. A key or a
// value makes room for as many bytes as there are in the batch, since most functions write about as
// much as they read.
func (o *Outcome) open(columns fields, before int) {
	o.present |= columns
	w := &o.wire
	if columns&hasTopic != 0 {
		w.Topics.Lens = fill(w.Topics.Lens, before, wire.Null)
	}
	if columns&hasPartition != 0 {
		w.Partitions = fill(w.Partitions, before, wire.ByKey)
	}
	if columns&hasTimestamp != 0 {
		w.Timestamps = fill(w.Timestamps, before, wire.OfSource)
	}
	if columns&hasKey != 0 {
		w.Keys.Lens = fill(w.Keys.Lens, before, wire.AsInSource)
		w.Keys.Data = slices.Grow(w.Keys.Data, len(o.batch.Keys.Data))
	}
	if columns&hasValue != 0 {
		w.Values.Lens = fill(w.Values.Lens, before, wire.AsInSource)
		w.Values.Data = slices.Grow(w.Values.Data, len(o.batch.Values.Data))
	}
	if columns&hasHeaders != 0 {
		w.Headers.Counts = fill(w.Headers.Counts, before, wire.AsInSource)
	}
}

func (o *Outcome) addHeaders(r *Record, m *Message) {
	h := &o.wire.Headers
	if m.set&hasHeaders == 0 {
		h.Counts = append(h.Counts, wire.AsInSource)
		return
	}
	first := len(h.Names.Lens)
	if !m.noSource {
		for header := range r.Headers() {
			addHeader(h, header)
		}
	}
	for _, header := range m.headers {
		addHeader(h, header)
	}
	h.Counts = append(h.Counts, int32(len(h.Names.Lens)-first))
}

func addHeader(h *wire.Headers, header Header) {
	h.Names.Lens = append(h.Names.Lens, int32(len(header.Name)))
	h.Names.Data = append(h.Names.Data, header.Name...)
	addBytes(&h.Values, header.Value)
}

func addField(c *wire.Column, set bool, value []byte) {
	if !set {
		c.Lens = append(c.Lens, wire.AsInSource)
		return
	}
	addBytes(c, value)
}

func addTopic(c *wire.Column, topic string) {
	if topic == "" {
		c.Lens = append(c.Lens, wire.Null)
		return
	}
	c.Lens = append(c.Lens, int32(len(topic)))
	c.Data = append(c.Data, topic...)
}

func addBytes(c *wire.Column, value []byte) {
	if value == nil {
		c.Lens = append(c.Lens, wire.Null)
		return
	}
	c.Lens = append(c.Lens, int32(len(value)))
	c.Data = append(c.Data, value...)
}

func fill[T int32 | int64](list []T, before int, as T) []T {
	for len(list) < before {
		list = append(list, as)
	}
	return list
}

func pick[T int32 | int64](set bool, value, otherwise T) T {
	if set {
		return value
	}
	return otherwise
}

func (o *Outcome) fail(index int, err error) {
	o.addFailure(index, kindOf(err), err.Error())
}

func (o *Outcome) addFailure(index int, kind wire.Kind, reason string) {
	o.wire.Failures = append(o.wire.Failures, wire.Failure{Source: uint32(index), Kind: kind, Reason: valid(reason)})
}

// valid makes a reason UTF-8, as the contract's strings are; one that is not fails the whole call.
func valid(reason string) string { return strings.ToValidUTF8(reason, "\uFFFD") }

// failAll fails every record that was not failed already.
func (o *Outcome) failAll(err error) {
	o.failRest(kindOf(err), err.Error())
}

func (o *Outcome) failRest(kind wire.Kind, reason string) {
	o.dropMessages()
	reason = valid(reason)
	for i := range o.batch.len() {
		// Where there is one already, finish takes that one.
		o.wire.Failures = append(o.wire.Failures, wire.Failure{Source: uint32(i), Kind: kind, Reason: reason})
	}
}

// begin makes the outcome empty and keeps its buffers.
func (o *Outcome) begin(batch *columns) {
	o.batch = batch
	o.dropMessages()
	clear(o.wire.Failures) // The reasons are not to be kept.
	o.wire.Failures = reuse(o.wire.Failures)
}

func (o *Outcome) dropMessages() {
	w := &o.wire
	w.Sources = reuse(w.Sources)
	w.Partitions = reuse(w.Partitions)
	w.Timestamps = reuse(w.Timestamps)
	w.Headers.Counts = reuse(w.Headers.Counts)
	for _, c := range w.Columns() {
		c.Lens, c.Data = reuse(c.Lens), reuse(c.Data)
	}
	o.present = 0
	o.outOfOrder = false
}

// keptBytes is how large a buffer may be to be kept for the next call. A batch is rarely larger
// than 256 KiB, so this is room enough, and one huge message does not hold its memory for ever.
const keptBytes = 1 << 20

func reuse[T any](buffer []T) []T {
	if uintptr(cap(buffer))*unsafe.Sizeof(*new(T)) > keptBytes {
		return nil
	}
	return buffer[:0]
}

// finish makes the outcome what the contract asks for.
func (o *Outcome) finish() *wire.Outcome {
	if o.outOfOrder {
		sortMessages(&o.wire)
	}
	failures := o.wire.Failures
	slices.SortStableFunc(failures, func(a, b wire.Failure) int { return cmp.Compare(a.Source, b.Source) })
	o.wire.Failures = slices.CompactFunc(failures, func(a, b wire.Failure) bool { return a.Source == b.Source })
	return &o.wire
}
