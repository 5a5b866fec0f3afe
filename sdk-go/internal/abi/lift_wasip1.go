//go:build wasip1

package abi

import (
	"unsafe"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// ReadBatch lays Go values over a batch where the runtime wrote it. Nothing is copied.
func ReadBatch(b *Batch) wire.Batch {
	topic := read[byte](b.Topic)
	return wire.Batch{
		Topic:      unsafe.String(unsafe.SliceData(topic), len(topic)),
		Partition:  b.Partition,
		Offsets:    read[int64](b.Offsets),
		Timestamps: read[int64](b.Timestamps),
		Attempts:   read[uint32](b.Attempts),
		Keys:       readColumn(b.Keys),
		Values:     readColumn(b.Values),
		Headers: wire.Headers{
			Counts: read[int32](b.Headers.Counts),
			Names:  readColumn(b.Headers.Names),
			Values: readColumn(b.Headers.Values),
		},
	}
}

// What WriteOutcome returns, kept here because it must outlive the call until post-return.
var (
	outcome  Outcome
	failures []Failure
)

// WriteOutcome says where the lists of an outcome are. Nothing is copied: Go's heap does not move,
// so the addresses hold for as long as o keeps the lists.
func WriteOutcome(o *wire.Outcome) *Outcome {
	failures = failures[:0]
	for i := range o.Failures {
		f := &o.Failures[i]
		reason := unsafe.Slice(unsafe.StringData(f.Reason), len(f.Reason))
		failures = append(failures, Failure{Source: f.Source, Kind: uint32(f.Kind), Reason: write(reason)})
	}
	outcome = Outcome{
		Sources:    write(o.Sources),
		Topics:     writeColumn(&o.Topics),
		Partitions: write(o.Partitions),
		Timestamps: write(o.Timestamps),
		Keys:       writeColumn(&o.Keys),
		Values:     writeColumn(&o.Values),
		Headers: Headers{
			Counts: write(o.Headers.Counts),
			Names:  writeColumn(&o.Headers.Names),
			Values: writeColumn(&o.Headers.Values),
		},
		Failures: write(failures),
	}
	return &outcome
}

// The address is turned into a pointer by way of Add because it is one of 32 bits in memory, and a
// pointer of Go has 64.
func read[T any](l List) []T {
	if l.Len == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Add(unsafe.Pointer(nil), l.Ptr)), l.Len)
}

func readColumn(c Column) wire.Column {
	return wire.Column{Lens: read[int32](c.Lens), Data: read[byte](c.Data)}
}

func write[T any](s []T) List {
	return List{Ptr: uint32(uintptr(unsafe.Pointer(unsafe.SliceData(s)))), Len: uint32(len(s))}
}

func writeColumn(c *wire.Column) Column {
	return Column{Lens: write(c.Lens), Data: write(c.Data)}
}
