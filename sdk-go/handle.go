package tidegate

import (
	"errors"
	"sync/atomic"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// Handle registers a function that takes one record at a time, which is what suits nearly every
// function. It calls handle with each record of a batch, in the order of their offsets.
//
// If handle returns an error, the record was not handled, and the messages returned with it are
// thrown away: see [Error] for what becomes of the record. A panic in handle fails its record in
// the same way, with the message and the stack as the reason; the records behind it go on.
//
// Call Handle, [HandleBatch] or [HandleJSON] once, from init. Registering a second function, or
// nil, panics.
func Handle(handle func(Record) (Messages, error)) {
	register("Handle", handle == nil, func(b *columns, o *Outcome) { handleRecords(handle, b, o) })
}

// HandleBatch registers a function that takes a whole batch and fills an outcome. It is for when
// many records together are cheaper than each alone: one request for all of them, say.
//
// Every record that is not failed counts as handled, whether messages are emitted for it or not.
// An error that handle returns fails every record that was not failed already, and throws away all
// messages; so does a panic. A record that fails takes others with it: see [Batch].
//
// Call [Handle], HandleBatch or [HandleJSON] once, from init. Registering a second function, or
// nil, panics.
func HandleBatch(handle func(Batch, *Outcome) error) {
	register("HandleBatch", handle == nil, func(b *columns, o *Outcome) { handleBatch(handle, b, o) })
}

// function is any of the forms a function may have.
type function func(*columns, *Outcome)

// registered is the function of the component; nil until there is one.
var registered function

func register(by string, isNil bool, f function) {
	if isNil {
		panic("tidegate: " + by + " of a nil function")
	}
	if registered != nil {
		panic("tidegate: " + by + " after another function was registered: a component holds one function")
	}
	registered = f
}

var errNotRegistered = errors.New("tidegate: no function is registered: call tidegate.Handle from init")

// call is what one call works on. It is used again for the next one, for the sake of its buffers.
type call struct {
	batch   columns
	outcome Outcome
}

// calls counts the calls, so that what belongs to an earlier one is known. The tests of an author
// may run several at a time.
var calls atomic.Uint32

func (c *call) run(f function, batch wire.Batch) *wire.Outcome {
	number := calls.Add(1)
	if number == 0 { // What belongs to no call has this number, and four billion calls are not many.
		number = calls.Add(1)
	}
	c.batch.begin(batch, number)
	c.outcome.begin(&c.batch)
	if f == nil {
		c.outcome.failAll(errNotRegistered)
	} else {
		f(&c.batch, &c.outcome)
	}
	return c.outcome.finish()
}

func handleRecords(handle func(Record) (Messages, error), b *columns, o *Outcome) {
	w := walk{handle: handle, batch: b, outcome: o}
	for w.next < b.len() {
		w.run()
	}
}

// walk goes over the records of a batch with a function of a record.
type walk struct {
	handle  func(Record) (Messages, error)
	batch   *columns
	outcome *Outcome
	next    int    // index of the record that is next
	at      cursor // where its fields start
}

// run goes to the end of the batch, or to a panic, which fails one record. There is one recover for
// a run of records and not one for each, which would cost as much as the record itself.
func (w *walk) run() {
	defer func() {
		// There is nothing to recover at the end of the batch, nor when the function called
		// runtime.Goexit, which no one can stop.
		if value := recover(); value != nil {
			w.outcome.addFailure(w.next-1, wire.Retry, panicReason(value))
		}
	}()
	// The fields are read here, and not by a function that returns a record, because a call with a
	// record going through memory costs a tenth of all there is to do for one.
	c, at, handle := w.batch, &w.at, w.handle
	r := c.blank()
	for index := w.next; index < c.len(); index++ {
		r.index = int32(index)
		r.headers = at.headers
		r.key = cut(&c.Keys, index, &at.key)
		r.value = cut(&c.Values, index, &at.value)
		if c.Headers.Counts[index] > 0 {
			c.skipHeaders(index, &at.headers)
		}
		w.next = index + 1
		messages, err := handle(r)
		switch {
		case err != nil:
			w.outcome.fail(index, err)
		case messages.more != nil:
			for i := range messages.more {
				w.outcome.emit(&r, &messages.more[i])
			}
		case messages.isOne:
			w.outcome.emit(&r, &messages.one)
		}
	}
}

func handleBatch(handle func(Batch, *Outcome) error, b *columns, o *Outcome) {
	defer func() {
		if value := recover(); value != nil {
			o.failRest(wire.Retry, panicReason(value))
		}
	}()
	if err := handle(Batch{b}, o); err != nil {
		o.failAll(err)
	}
}
