package tidegate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// HandleJSON registers a function that takes the value of a record read as JSON, and the record
// itself. What it returns becomes the value of the message, written as JSON: see [Message.WithJSON].
// Key, headers and timestamp stay as they are in the record.
//
// A value that is not such JSON is rejected, with the place of the mistake in the reason: see
// [Record.DecodeJSON], also for what passes as such JSON though you may not expect it. A field that is
// missing is one of these, so look at what has to be there.
//
// To answer with no message, let Out be a pointer and return nil. For everything else (several
// messages, another key or topic, a tombstone) let Out be [Messages], or a [Message] or a pointer or
// slice of it, which are taken as they are; [Record.WithJSON] makes a message with a value in JSON.
// Any other slice is one value, a JSON array.
//
// Call [Handle], [HandleBatch] or HandleJSON once, from init. Registering a second function, or
// nil, panics.
func HandleJSON[In, Out any](handle func(In, Record) (Out, error)) {
	records := func(r Record) (Messages, error) {
		var in In
		if err := r.DecodeJSON(&in); err != nil {
			return None(), err
		}
		out, err := handle(in, r)
		if err != nil {
			return None(), err
		}
		return encode(out, r)
	}
	register("HandleJSON", handle == nil, func(b *columns, o *Outcome) { handleRecords(records, b, o) })
}

func encode(out any, r Record) (Messages, error) {
	switch out := out.(type) {
	case nil:
		return None(), nil
	case Messages:
		return out, nil
	case Message:
		return One(out), nil
	case []Message:
		return Many(out...), nil
	case *Message:
		if out == nil {
			return None(), nil
		}
		return One(*out), nil
	}
	if v := reflect.ValueOf(out); v.Kind() == reflect.Pointer && v.IsNil() {
		return None(), nil
	}
	m, err := r.WithJSON(out)
	if err != nil {
		return None(), err
	}
	return One(m), nil
}

// DecodeJSON reads its value as JSON into v, a pointer, by the rules of [json.Unmarshal]. What it reads
// is copied, so it may be kept. These rules are lenient:
//
//   - A field that is missing stays as it is, and one that v does not have is passed over.
//   - So does a field stay that is null, unless null fits it. A pointer tells both from zero.
//   - Keys are matched to fields without regard to case, and of a key that is there twice the last one
//     counts.
//   - What is not UTF-8 in a text becomes U+FFFD, and so does half of a surrogate pair (\ud800).
//
// The error is a reject if the value is null, or is not JSON that fits v; it says where, by line
// and column in bytes from 1. The JSON null fits what can be nil (a pointer, map, slice or
// interface) and what reads JSON by itself, and nothing else.
func (r Record) DecodeJSON(v any) error {
	if r.value == nil {
		return Reject(errors.New("the value is null, not JSON"))
	}
	if bytes.Equal(bytes.TrimSpace(r.value), []byte("null")) && !takesNull(v) {
		return Reject(fmt.Errorf("bad JSON in the value: null does not fit %v", reflect.TypeOf(v).Elem()))
	}
	err := json.Unmarshal(r.value, v)
	var invalid *json.InvalidUnmarshalError
	if err == nil || errors.As(err, &invalid) {
		return err // The second is a mistake of the program, for which no record is to be given up.
	}
	line, column := place(r.value, err)
	if line == 0 {
		return Reject(fmt.Errorf("bad JSON in the value: %w", err))
	}
	return Reject(fmt.Errorf("bad JSON in the value: %w at line %d column %d", err, line, column))
}

// takesNull says whether null can be read into v. Go's decoder takes it for anything and leaves v
// as it was, so that a record that says nothing would look like one of zeros.
func takesNull(v any) bool {
	if _, ok := v.(json.Unmarshaler); ok {
		return true
	}
	pointer := reflect.ValueOf(v)
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() {
		return true // Not to be decoded into: the decoder says so.
	}
	switch pointer.Type().Elem().Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return true
	}
	return false
}

// place finds the line and column, from 1, at which a value is not what it should be; 0 if the
// error does not say.
func place(value []byte, err error) (line, column int) {
	var offset int64
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &mismatch):
		offset = mismatch.Offset
	default:
		return 0, 0
	}
	// The offset counts the bytes that were read, of which the last is where it went wrong.
	read := value[:min(max(offset, 0), int64(len(value)))]
	before := read[:max(len(read)-1, 0)]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
}

// WithJSON returns this record with another value, written as JSON, as a message: see
// [Message.WithJSON].
func (r Record) WithJSON(v any) (Message, error) { return r.Forward().WithJSON(v) }

// WithJSON sets its value, written as JSON on one line by the rules of [json.Marshal], except that
// <, > and & stand as they are: what escapes them is for HTML. A nil v is the JSON null, which is not
// a tombstone: that is [Message.WithoutValue].
//
// The error is a reject if v has no form in JSON, as a channel or a number that is not finite.
func (m Message) WithJSON(v any) (Message, error) {
	var value bytes.Buffer
	encoder := json.NewEncoder(&value)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return Message{}, Reject(fmt.Errorf("the value cannot be written as JSON: %w", err))
	}
	return m.WithValue(bytes.TrimSuffix(value.Bytes(), []byte("\n"))), nil
}
