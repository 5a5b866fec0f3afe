// Package abi is the boundary itself: how the records of wit/function.wit lie in memory by the
// component model's canonical ABI, and the memory that the runtime writes a batch into.
//
// It is written by hand. Generated exports allocate on Go's heap while the runtime lowers into the
// function; that can set off a collection, a collection reads the clock, and reading the clock is
// a call that a component may not make at that moment: it traps.
package abi

// List is a list or a string: where it starts, and how many elements it has.
type List struct {
	Ptr uint32
	Len uint32
}

// Column is the record column.
type Column struct {
	Lens List
	Data List
}

// Headers is the record headers.
type Headers struct {
	Counts List
	Names  Column
	Values Column
}

// Batch is the record batch. Its 27 words are too many to be passed as parameters, so the runtime
// passes the address of such a block.
type Batch struct {
	Topic      List
	Partition  int32
	Offsets    List
	Timestamps List
	Attempts   List
	Keys       Column
	Values     Column
	Headers    Headers
}

// Failure is the record failure. The kind takes one byte; the three behind it are padding.
type Failure struct {
	Source uint32
	Kind   uint32
	Reason List
}

// Outcome is the record outcome: 30 words, of which the address is returned.
type Outcome struct {
	Sources    List
	Topics     Column
	Partitions List
	Timestamps List
	Keys       Column
	Values     Column
	Headers    Headers
	Failures   List
}
