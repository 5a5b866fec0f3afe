// Package wire holds what crosses between the runtime and a function as Go values: the records of
// wit/function.wit with slices for its lists.
//
// The numbers that stand for something else (null, as in the source record) are those of the
// contract and are explained there.
package wire

const (
	// Null is a length: the value is null, which is not empty.
	Null = -1
	// AsInSource is a length or a count in an outcome: as in the source record.
	AsInSource = -2
	// ByKey is a partition in an outcome: chosen by the key of the message.
	ByKey = -1
	// OfSource is a timestamp in an outcome: that of the source record.
	OfSource = -2
	// OfProducing is a timestamp in an outcome: the time of producing.
	OfProducing = -1
	// Unknown is a timestamp in a batch.
	Unknown = -1
)

// Column is one field of variable length of several records, laid end to end.
type Column struct {
	Lens []int32
	Data []byte
}

// Headers are the headers of several records.
type Headers struct {
	Counts        []int32
	Names, Values Column
}

// Batch is what a call comes with.
type Batch struct {
	Topic      string
	Partition  int32
	Offsets    []int64
	Timestamps []int64
	Attempts   []uint32
	Keys       Column
	Values     Column
	Headers    Headers
}

// Kind says whether a record that failed is to be tried again.
type Kind uint8

// The cases of failure-kind, in the order of the contract.
const (
	Retry Kind = iota
	Reject
)

// Failure is a record that was not handled.
type Failure struct {
	Source uint32
	Kind   Kind
	Reason string
}

// Outcome is what a call ends in.
type Outcome struct {
	Sources    []uint32
	Topics     Column
	Partitions []int32
	Timestamps []int64
	Keys       Column
	Values     Column
	Headers    Headers
	Failures   []Failure
}

// Columns returns all columns, to be treated alike.
func (o *Outcome) Columns() [5]*Column {
	return [5]*Column{&o.Topics, &o.Keys, &o.Values, &o.Headers.Names, &o.Headers.Values}
}

// Run calls a function once, outside of the runtime, for package tidegatetest. The function is the
// one that register registers, or the one that is registered already if register is nil.
//
// Package tidegate sets it: tests need what its users must not see.
var Run func(register func(), batch Batch) *Outcome
