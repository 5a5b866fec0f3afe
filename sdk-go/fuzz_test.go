package tidegate_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

// recordsFrom cuts records out of any bytes: each byte says what comes next and how long it is.
func recordsFrom(data []byte) (records []tidegatetest.Record) {
	next := func() (field []byte) {
		if len(data) == 0 || data[0] >= 200 {
			data = data[min(1, len(data)):]
			return nil
		}
		n := min(int(data[0]%16), len(data)-1)
		field, data = data[1:1+n:1+n], data[1+n:]
		return field
	}
	for offset := int64(1); len(data) > 0 && len(records) < 64; offset += int64(data[0]%3) + 1 {
		r := tidegatetest.Record{Topic: "t", Partition: 1, Offset: offset, Attempt: uint32(data[0]) + 1}
		if data[0]%2 == 0 {
			r.Timestamp = time.UnixMilli(int64(data[0])).UTC()
		}
		headers := data[0] % 4
		r.Key, r.Value = next(), next()
		for range headers {
			name := next()
			if name == nil {
				name = []byte{}
			}
			r.Headers = append(r.Headers, tidegate.Header{Name: name, Value: next()})
		}
		records = append(records, r)
		if len(data) == 0 {
			break
		}
	}
	return records
}

// Whichever way a message is written that is its record over again, that is what is produced: by
// reference, field by field, emitted backwards, and each for the record behind it.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("\x03key\xff\xff\x02\x00\x01ab\x05value\x01\x03k\xffy"))
	f.Add(slices.Repeat([]byte{7, 1, 2, 255, 0, 31, 8}, 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		records := recordsFrom(data)
		if len(records) == 0 {
			return
		}
		var want []tidegatetest.Message
		for i, r := range records {
			want = append(want, tidegatetest.Message{Record: i, Partition: -1, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers})
		}
		check := func(what string, got tidegatetest.Outcome) {
			t.Helper()
			equal(t, what, got, tidegatetest.Outcome{Messages: want})
		}

		check("by reference", tidegatetest.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
			return tidegate.One(r.Forward()), nil
		}, records...))
		check("some by field", tidegatetest.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
			m := r.Forward()
			if r.Attempt()%2 == 0 {
				m = m.WithKey(r.Key()).WithTimestamp(r.Timestamp()).WithHeaders(headersOf(r)...)
			}
			if r.Attempt()%3 == 0 {
				m = m.WithValue(r.Value())
			}
			return tidegate.One(m), nil
		}, records...))
		check("backwards", tidegatetest.HandleBatch(func(batch tidegate.Batch, outcome *tidegate.Outcome) error {
			for i := batch.Len() - 1; i >= 0; i-- {
				m := batch.Record(i).Forward()
				if i%2 == 0 {
					m = m.WithKey(batch.Record(i).Key()).WithoutHeaders()
					for h := range batch.Record(i).Headers() {
						m = m.AddHeader(string(h.Name), h.Value)
					}
				}
				outcome.Emit(batch.Record(i), m)
			}
			return nil
		}, records...))

		moved := tidegatetest.HandleBatch(func(batch tidegate.Batch, outcome *tidegate.Outcome) error {
			for r := range batch.All() {
				outcome.Emit(batch.Record((r.Index()+1)%batch.Len()), r.Forward())
			}
			return nil
		}, records...)
		last := want[len(want)-1]
		want = append([]tidegatetest.Message{last}, want[:len(want)-1]...)
		for i := range want {
			want[i].Record = i
		}
		check("for the next record", moved)
	})
}
