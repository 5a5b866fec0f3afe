package abi

import (
	_ "embed"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// The layout that the canonical ABI gives to the records of wit/function.wit. A test of the
// runtime computes the same text from the WIT, so that the two cannot part.
//
//go:embed layout.txt
var golden string

func TestLayoutIsThatOfTheContract(t *testing.T) {
	var got strings.Builder
	for _, record := range []any{Column{}, Headers{}, Batch{}, Failure{}, Outcome{}} {
		typ := reflect.TypeOf(record)
		fmt.Fprintf(&got, "%s size=%d align=%d\n", strings.ToLower(typ.Name()), typ.Size(), typ.Align())
		for i := range typ.NumField() {
			field := typ.Field(i)
			fmt.Fprintf(&got, "  %s %d\n", strings.ToLower(field.Name), field.Offset)
		}
	}
	if got.String() != golden {
		t.Errorf("the structs are laid out like this:\n%s\nand layout.txt says:\n%s", got.String(), golden)
	}
}

// The words of the two blocks, one by one, as a check on the sums above.
func TestBlocksAreSoManyWords(t *testing.T) {
	var batch Batch
	var outcome Outcome
	var failure Failure
	for _, word := range []struct {
		name      string
		got, want uintptr
	}{
		{"batch", unsafe.Sizeof(batch) / 4, 27},
		{"outcome", unsafe.Sizeof(outcome) / 4, 30},
		{"batch.topic.len", unsafe.Offsetof(batch.Topic) + unsafe.Offsetof(batch.Topic.Len), 4},
		{"batch.values.data.ptr", unsafe.Offsetof(batch.Values) + unsafe.Offsetof(batch.Values.Data), 60},
		{"batch.headers.values.data.len", unsafe.Offsetof(batch.Headers) + unsafe.Offsetof(batch.Headers.Values) +
			unsafe.Offsetof(batch.Headers.Values.Data) + unsafe.Offsetof(batch.Headers.Values.Data.Len), 104},
		{"outcome.headers.names.lens.ptr", unsafe.Offsetof(outcome.Headers) + unsafe.Offsetof(outcome.Headers.Names), 80},
		{"outcome.failures.len", unsafe.Offsetof(outcome.Failures) + unsafe.Offsetof(outcome.Failures.Len), 116},
		{"failure.reason.ptr", unsafe.Offsetof(failure.Reason) + unsafe.Offsetof(failure.Reason.Ptr), 8},
	} {
		if word.got != word.want {
			t.Errorf("%s: %d, want %d", word.name, word.got, word.want)
		}
	}
}
