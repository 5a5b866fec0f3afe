package tidegate

import (
	"iter"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// Batch is the records of one call: at least one, all of the same partition, in the order of their
// offsets. How many there are at most is up to the trigger (batch.records, batch.bytes).
//
// It is a view, and valid until the function returns, as its records are.
//
// # What runs again
//
// If a record fails, the records behind it that have the same key run again after it, whatever came
// of them: their messages are thrown away too. With ordering = "partition" these are all records
// behind it; with ordering = "none", and without a key, none.
//
// The records of a call are done together, when all of its messages have been acknowledged, because
// a message may stand for more records than the one it was emitted for. A restart or a rebalance
// before that repeats all of them. So does a call that ends without an outcome, as at the deadline:
// then its records run in smaller calls, until the one at fault stands alone.
//
// A record that runs again may meet others in its batch than before.
type Batch struct {
	columns *columns
}

// Len returns how many records there are.
func (b Batch) Len() int { return b.columns.len() }

// Topic returns the name of the topic that the records were read from.
func (b Batch) Topic() string { return b.columns.Topic }

// Partition returns the number of the partition that the records were read from, from 0.
func (b Batch) Partition() int32 { return b.columns.Partition }

// Record returns the record at an index, from 0. It panics if there is none.
func (b Batch) Record(index int) Record { return b.columns.record(index) }

// All iterates over the records, in the order of their offsets.
func (b Batch) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		var at cursor
		r := b.columns.blank()
		for i := range b.columns.len() {
			b.columns.take(i, &at, &r)
			if !yield(r) {
				return
			}
		}
	}
}

// columns is a batch as it came, and what is needed to find records in it.
type columns struct {
	wire.Batch
	call   uint32
	starts []cursor // where the fields of each record start; empty until it is asked for
}

// cursor says where the fields of a record start.
type cursor struct {
	key, value uint32
	headers    headersAt
}

// headersAt says where the headers of a record start: the first of them, and its name and value.
type headersAt struct {
	first, name, value uint32
}

// nothing is what an empty value is cut from, since a nil one would be null.
var nothing = []byte{}

// begin takes the batch of a call. The topic is copied out of it, once for as long as it stays the
// same, because people expect of a string that it can be kept.
func (c *columns) begin(batch wire.Batch, number uint32) {
	if batch.Topic == c.Topic {
		batch.Topic = c.Topic
	} else {
		batch.Topic = strings.Clone(batch.Topic)
	}
	c.Batch = batch
	c.call = number
	c.starts = reuse(c.starts)
	for _, data := range []*[]byte{&c.Keys.Data, &c.Values.Data, &c.Headers.Names.Data, &c.Headers.Values.Data} {
		if *data == nil {
			*data = nothing
		}
	}
}

func (c *columns) len() int { return len(c.Offsets) }

// blank returns a record of this batch, for take to say which.
func (c *columns) blank() Record { return Record{columns: c, call: c.call} }

// take makes r, a record of this batch, the one at a cursor, and moves the cursor to the next one.
func (c *columns) take(index int, at *cursor, r *Record) {
	r.index = int32(index)
	r.headers = at.headers
	r.key = cut(&c.Keys, index, &at.key)
	r.value = cut(&c.Values, index, &at.value)
	if c.Headers.Counts[index] > 0 {
		c.skipHeaders(index, &at.headers)
	}
}

// cut returns the value at an index, which starts at a place, and moves the place behind it.
func cut(c *wire.Column, index int, at *uint32) []byte {
	n := c.Lens[index]
	if n < 0 {
		return nil
	}
	start := *at
	*at += uint32(n)
	return c.Data[start:*at:*at]
}

func (c *columns) skipHeaders(index int, at *headersAt) {
	end := at.first + uint32(c.Headers.Counts[index])
	for _, n := range c.Headers.Names.Lens[at.first:end] {
		at.name += uint32(max(n, 0))
	}
	for _, n := range c.Headers.Values.Lens[at.first:end] {
		at.value += uint32(max(n, 0))
	}
	at.first = end
}

// record finds any record. The first time in a call it walks over the batch to learn where the
// records start; a function of a record never pays for that.
func (c *columns) record(index int) Record {
	r := c.blank()
	if len(c.starts) == 0 {
		c.starts = slices.Grow(c.starts, c.len())
		var at cursor
		for i := range c.len() {
			c.starts = append(c.starts, at)
			c.take(i, &at, &r)
		}
	}
	at := c.starts[index]
	c.take(index, &at, &r)
	return r
}
