package tidegate

// What is kept from one call to the next, and what it costs.

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// largeBatch is 512 records with keys of 16 bytes and values of 100.
func largeBatch(headers int) (b wire.Batch) {
	b.Topic = "orders"
	for i := range 512 {
		b.Offsets = append(b.Offsets, int64(i))
		b.Timestamps = append(b.Timestamps, 1000)
		b.Attempts = append(b.Attempts, 1)
		addBytes(&b.Keys, fmt.Appendf(nil, "key-%012d", i))
		addBytes(&b.Values, make([]byte, 100))
		b.Headers.Counts = append(b.Headers.Counts, int32(headers))
		for range headers {
			addHeader(&b.Headers, Header{Name: []byte("name"), Value: []byte("value")})
		}
	}
	return b
}

var forms = []struct {
	name   string
	handle function
}{
	{"forward", records(func(r Record) (Messages, error) { return One(r.Forward()), nil })},
	{"with value", records(func(r Record) (Messages, error) { return One(r.WithValue(r.Value())), nil })},
	{"with all", records(func(r Record) (Messages, error) {
		return One(r.WithValue(r.Value()).WithKey(r.Key()).WithTopic("other").WithPartition(1).WithoutTimestamp()), nil
	})},
	{"header", records(func(r Record) (Messages, error) {
		if _, ok := r.Header("none"); ok {
			return None(), nil
		}
		return One(r.Forward().WithoutHeaders()), nil
	})},
	{"batch", func(b *columns, o *Outcome) {
		handleBatch(func(batch Batch, o *Outcome) error {
			for r := range batch.All() {
				o.Emit(r, r.Forward())
			}
			o.Emit(batch.Record(511), batch.Record(510).Forward())
			return nil
		}, b, o)
	}},
}

func records(handle func(Record) (Messages, error)) function {
	return func(b *columns, o *Outcome) { handleRecords(handle, b, o) }
}

func TestACallAllocatesNothing(t *testing.T) {
	for _, headers := range []int{0, 3} {
		for _, form := range forms {
			t.Run(fmt.Sprintf("%s, %d headers", form.name, headers), func(t *testing.T) {
				var c call
				batch := largeBatch(headers)
				want := 0.0
				if form.name == "batch" && headers > 0 {
					want = 3 // Spelling out a message for another record makes a list of headers.
				}
				if got := testing.AllocsPerRun(20, func() { c.run(form.handle, batch) }); got > want {
					t.Errorf("%v allocations for a call, want %v", got, want)
				}
			})
		}
	}
}

func TestACallDoesNotSeeTheOneBefore(t *testing.T) {
	var c call
	batch := largeBatch(1)
	c.run(records(func(r Record) (Messages, error) {
		if r.Index()%2 == 0 {
			panic("no good")
		}
		return One(r.WithValue(nil).WithKey(nil).WithTopic("t").WithPartition(1).WithoutTimestamp().WithoutHeaders().AddHeader("a", nil)), nil
	}), batch)
	outcome := c.run(forms[0].handle, batch)
	if len(outcome.Sources) != 512 || len(outcome.Failures) != 0 || len(outcome.Partitions) != 0 ||
		len(outcome.Timestamps) != 0 || len(outcome.Headers.Counts) != 0 {
		t.Errorf("%d messages, %d failures, %d partitions, %d timestamps, %d header counts", len(outcome.Sources), len(outcome.Failures),
			len(outcome.Partitions), len(outcome.Timestamps), len(outcome.Headers.Counts))
	}
	for i, c := range outcome.Columns() {
		if len(c.Lens) != 0 || len(c.Data) != 0 {
			t.Errorf("column %d has %d entries of %d bytes", i, len(c.Lens), len(c.Data))
		}
	}
	if cap(outcome.Values.Lens) == 0 {
		t.Error("the buffers were not kept")
	}
}

func TestAHugeBufferIsNotKept(t *testing.T) {
	var c call
	batch := largeBatch(0)
	huge := make([]byte, keptBytes+1)
	c.run(records(func(r Record) (Messages, error) {
		if r.Index() == 7 {
			return One(r.WithValue(huge)), nil
		}
		return None(), nil
	}), batch)
	if outcome := c.run(forms[0].handle, batch); cap(outcome.Values.Data) != 0 {
		t.Errorf("%d bytes were kept", cap(outcome.Values.Data))
	}
}

func TestTheTopicIsCopiedOutOfTheBatch(t *testing.T) {
	var c call
	var topics []string
	keep := records(func(r Record) (Messages, error) {
		topics = append(topics, r.Topic())
		return None(), nil
	})
	for _, topic := range []string{"a", "a", "b"} {
		batch := largeBatch(0)
		batch.Topic = topic
		c.run(keep, batch)
	}
	if topics[0] != "a" || topics[512] != "a" || topics[1024] != "b" {
		t.Errorf("%q, %q, %q", topics[0], topics[512], topics[1024])
	}
}

func TestNoCallHasTheNumberOfNoCall(t *testing.T) {
	before := calls.Load()
	defer calls.Store(before)
	calls.Store(1<<32 - 1)
	var c call
	outcome := c.run(forms[0].handle, largeBatch(0))
	if c.batch.call != 1 || len(outcome.Sources) != 512 {
		t.Errorf("call %d, %d messages", c.batch.call, len(outcome.Sources))
	}
}

// One operation is a call with 512 records.
func BenchmarkCall(b *testing.B) {
	for _, headers := range []int{0, 3} {
		for _, form := range forms {
			b.Run(fmt.Sprintf("%s/%d_headers", form.name, headers), func(b *testing.B) {
				var c call
				batch := largeBatch(headers)
				b.ReportAllocs()
				for b.Loop() {
					c.run(form.handle, batch)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/record")
			})
		}
	}
}
