package tidegate

import (
	"time"
	"unsafe"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// Message is a message to produce.
//
// It goes to the trigger's output, its partition chosen by its key. Key, value, headers and
// timestamp are those of its source record unless they are set; what is not set costs nothing,
// because the runtime already has it.
//
// A message is a value: each method returns a changed copy and leaves the one it was called on as
// it was. Slices given to it are copied when the message is returned or emitted, and not before, so
// leave them as they are until then.
//
// The zero Message sets nothing: it is the record that it is returned or emitted for over again.
type Message struct {
	index     int32  // of the record it was made from
	call      uint32 // the call that record came with; 0: it was made from none
	partition int32
	set       fields
	noSource  bool // the headers are those of the list alone
	timestamp int64
	topic     string
	key       []byte
	value     []byte
	headers   []Header
}

// fields says which fields differ from those of the source record.
type fields uint8

const (
	hasTopic fields = 1 << iota
	hasPartition
	hasTimestamp
	hasKey
	hasValue
	hasHeaders
)

// NewMessage returns a message with this value. Key, headers and timestamp are those of the record
// that it is returned or emitted for. A nil value is null: see [Message.WithValue].
func NewMessage(value []byte) Message { return Message{value: value, set: hasValue} }

// WithTopic sends it to another topic, which the trigger must allow (allow-topics), or the whole
// call fails. The empty name stands for the trigger's output, as by default.
func (m Message) WithTopic(topic string) Message {
	m.topic = topic
	m.put(hasTopic, topic != "")
	return m
}

// WithPartition sends it to this partition. A negative number: chosen by its key, as by default, in
// the way of Kafka's own clients. If the topic has no such partition, the record is given up at once, as
// on-exhausted says, with the cause output.
func (m Message) WithPartition(partition int32) Message {
	m.partition = partition
	m.put(hasPartition, partition >= 0)
	return m
}

// WithTimestamp gives it this timestamp, cut to the millisecond. A time before 1970, such as the
// zero time: the time of producing. So does the first millisecond of 1970, which means now to the
// Kafka client.
func (m Message) WithTimestamp(timestamp time.Time) Message {
	m.timestamp = max(timestamp.UnixMilli(), wire.OfProducing)
	m.set |= hasTimestamp
	return m
}

// WithoutTimestamp gives it the time of producing as its timestamp.
func (m Message) WithoutTimestamp() Message { return m.WithTimestamp(time.Time{}) }

// WithKey sets its key. A nil key is null.
func (m Message) WithKey(key []byte) Message {
	m.key = key
	m.set |= hasKey
	return m
}

// WithoutKey takes its key away.
func (m Message) WithoutKey() Message { return m.WithKey(nil) }

// WithValue sets its value.
//
// A nil value is null, which is not empty: on a compacted topic it is a tombstone, which deletes
// what is there under the key. Beware of functions that make one of the other: [bytes.TrimSpace] gives
// nil for a value of spaces, and [bytes.ToUpper] an empty value for nil, so that a tombstone is lost. The
// latter also replaces what is not UTF-8. [bytes.Clone] keeps nil.
func (m Message) WithValue(value []byte) Message {
	m.value = value
	m.set |= hasValue
	return m
}

// WithoutValue takes its value away: a tombstone.
func (m Message) WithoutValue() Message { return m.WithValue(nil) }

// AddHeader adds a header behind those it has: those of the source record, unless they were
// replaced, and those already added. A nil value is null.
func (m Message) AddHeader(name string, value []byte) Message {
	// The bytes of the name are only read from here on, so they need no copy.
	header := Header{Name: unsafe.Slice(unsafe.StringData(name), len(name)), Value: value}
	// The list is cut to its length so that two messages made from one do not share its end.
	m.headers = append(m.headers[:len(m.headers):len(m.headers)], header)
	m.set |= hasHeaders
	return m
}

// WithHeaders replaces its headers by these; any that were added before are gone. To leave some of
// the record's out, collect the others:
//
//	var kept []tidegate.Header
//	for header := range r.Headers() {
//		if string(header.Name) != "trace" {
//			kept = append(kept, header)
//		}
//	}
//	return tidegate.One(r.Forward().WithHeaders(kept...)), nil
func (m Message) WithHeaders(headers ...Header) Message {
	m.headers = headers
	m.noSource = true
	m.set |= hasHeaders
	return m
}

// WithoutHeaders takes its headers away; headers can be added after.
func (m Message) WithoutHeaders() Message { return m.WithHeaders() }

func (m *Message) put(field fields, set bool) {
	m.set &^= field
	if set {
		m.set |= field
	}
}

// spelledOut sets what is as in the record that the message was made from, so that the message can
// be emitted for another one.
func (m Message) spelledOut(source Record) Message {
	if m.set&hasTimestamp == 0 {
		m = m.WithTimestamp(source.Timestamp())
	}
	if m.set&hasKey == 0 {
		m = m.WithKey(source.Key())
	}
	if m.set&hasValue == 0 {
		m = m.WithValue(source.Value())
	}
	if !m.noSource {
		var headers []Header
		for header := range source.Headers() {
			headers = append(headers, header)
		}
		m = m.WithHeaders(append(headers, m.headers...)...)
	}
	m.call = 0
	return m
}

// Messages is what a function of a record answers with: any number of messages, made by [None],
// [One] or [Many].
type Messages struct {
	one   Message
	isOne bool
	more  []Message
}

// None is no message: the record was handled, and that is all.
func None() Messages { return Messages{} }

// One is one message. It does not allocate.
func One(m Message) Messages { return Messages{one: m, isOne: true} }

// Many is any number of messages, produced in this order.
func Many(m ...Message) Messages { return Messages{more: m} }
