package tidegate_test

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/internal/wire"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func TestErrorsSayWhetherToTryAgain(t *testing.T) {
	plain := fmt.Errorf("open: %w", fs.ErrNotExist)
	for _, test := range []struct {
		name   string
		err    error
		reject bool
	}{
		{"plain", plain, false},
		{"retry", tidegate.Retry(plain), false},
		{"reject", tidegate.Reject(plain), true},
		{"wrapped", fmt.Errorf("order 7: %w", tidegate.Reject(plain)), true},
		{"joined", errors.Join(errors.New("other"), tidegate.Reject(plain)), true},
		{"joined, the first counts", errors.Join(tidegate.Retry(plain), tidegate.Reject(plain)), false},
		{"overruled", tidegate.Retry(fmt.Errorf("again: %w", tidegate.Reject(plain))), false},
		{"overruled the other way", tidegate.Reject(tidegate.Retry(plain)), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !errors.Is(test.err, fs.ErrNotExist) {
				t.Error("the error inside is not found")
			}
			var e *tidegate.Error
			if errors.As(test.err, &e) && (e.IsReject() != test.reject || e.IsRetry() == test.reject) {
				t.Errorf("IsReject: %v, IsRetry: %v", e.IsReject(), e.IsRetry())
			}
			handle := func(tidegate.Record) (tidegate.Messages, error) { return tidegate.None(), test.err }
			got := tidegatetest.Handle(handle, tidegatetest.Record{})
			want := tidegatetest.Failure{Reject: test.reject, Reason: test.err.Error()}
			equal(t, "failures", got.Failures, []tidegatetest.Failure{want})
		})
	}
	if tidegate.Retry(nil) != nil || tidegate.Reject(nil) != nil {
		t.Error("no error became one")
	}
}

func values(texts ...string) (records []tidegatetest.Record) {
	for _, text := range texts {
		records = append(records, tidegatetest.Record{Value: b(text)})
	}
	return records
}

func describe(o tidegatetest.Outcome) (lines []string) {
	for _, m := range o.Messages {
		lines = append(lines, fmt.Sprintf("%d: %s", m.Record, m.Value))
	}
	for _, f := range o.Failures {
		reason, _, _ := strings.Cut(f.Reason, "\n")
		lines = append(lines, fmt.Sprintf("%d failed: %s", f.Record, reason))
	}
	return lines
}

func TestARecordHasAnyNumberOfMessages(t *testing.T) {
	got := tidegatetest.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
		switch string(r.Value()) {
		case "none":
			return tidegate.None(), nil
		case "one":
			return tidegate.One(r.Forward()), nil
		case "failed":
			return tidegate.One(r.Forward()), errors.New("no")
		case "many, none of them":
			return tidegate.Many(), nil
		}
		return tidegate.Many(r.WithValue(b("x")), r.WithValue(b("y"))), nil
	}, values("none", "one", "failed", "many", "many, none of them", "one")...)
	equal(t, "outcome", describe(got), []string{"1: one", "3: x", "3: y", "5: one", "2 failed: no"})
}

// mayPanic is a function of its own so that its name is in the stack.
func mayPanic(r tidegate.Record) (tidegate.Messages, error) {
	switch string(r.Value()) {
	case "text":
		panic("no good")
	case "fault":
		var nowhere *int
		*nowhere = 1
	case "index":
		_ = r.Value()[len(r.Value())]
	case "nil":
		panic(nil)
	case "error":
		return tidegate.None(), panics{}
	case "long":
		panic(strings.Repeat("ü", 2000))
	}
	return tidegate.One(r.Forward()), nil
}

type panics struct{}

func (panics) Error() string { panic("in Error") }

func TestAPanicFailsItsRecordAndNoOther(t *testing.T) {
	got := tidegatetest.Handle(mayPanic, values("text", "a", "fault", "index", "b", "nil", "error", "long", "c")...)
	equal(t, "outcome", describe(got), []string{
		"1: a", "4: b", "8: c",
		"0 failed: panic: no good",
		"2 failed: panic: runtime error: invalid memory address or nil pointer dereference",
		"3 failed: panic: runtime error: index out of range [5] with length 5",
		"5 failed: panic: " + new(runtime.PanicNilError).Error(),
		"6 failed: panic: in Error",
		"7 failed: panic: " + strings.Repeat("ü", 245) + "…",
	})
	for _, f := range got.Failures {
		if f.Reject || len(f.Reason) > 1000 || !utf8.ValidString(f.Reason) {
			t.Errorf("record %d: reject %v, %d bytes of reason", f.Record, f.Reject, len(f.Reason))
		}
		where := "github.com/tidegate/tidegate/sdk-go_test.mayPanic"
		if f.Record == 6 {
			where = "github.com/tidegate/tidegate/sdk-go_test.panics.Error"
		}
		if frame := strings.Split(f.Reason, "\n")[1]; frame != where {
			t.Errorf("record %d: the first frame is %q", f.Record, frame)
		}
	}
}

func TestAPanicFailsTheRestOfABatch(t *testing.T) {
	got := tidegatetest.HandleBatch(func(batch tidegate.Batch, outcome *tidegate.Outcome) error {
		outcome.Emit(batch.Record(0), batch.Record(0).WithValue(b("lost")))
		outcome.Fail(batch.Record(1), tidegate.Reject(errors.New("bad")))
		panic("no good")
	}, values("a", "b", "c")...)
	equal(t, "outcome", describe(got), []string{"0 failed: panic: no good", "1 failed: bad", "2 failed: panic: no good"})
	equal(t, "rejects", []bool{got.Failures[0].Reject, got.Failures[1].Reject}, []bool{false, true})
}

func TestAnErrorFailsTheRestOfABatch(t *testing.T) {
	got := tidegatetest.HandleBatch(func(batch tidegate.Batch, outcome *tidegate.Outcome) error {
		outcome.Emit(batch.Record(0), batch.Record(0).WithValue(b("lost")))
		outcome.Fail(batch.Record(1), errors.New("mine"))
		return tidegate.Reject(errors.New("all"))
	}, values("a", "b", "c")...)
	equal(t, "failures", got, tidegatetest.Outcome{Failures: []tidegatetest.Failure{
		{Record: 0, Reject: true, Reason: "all"}, {Record: 1, Reason: "mine"}, {Record: 2, Reject: true, Reason: "all"}}})
}

func TestWhatIsKeptFromAnEarlierCallIsNotTaken(t *testing.T) {
	kept := tidegatetest.Record{Value: b("old")}.View()
	got := tidegatetest.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
		return tidegate.One(kept.Forward()), nil
	}, values("a")...)
	equal(t, "message", describe(got), []string{"0 failed: panic: tidegate: a message was kept from an earlier call"})

	for name, misuse := range map[string]func(tidegate.Batch, *tidegate.Outcome){
		"panic: tidegate: a record was kept from an earlier call":  func(_ tidegate.Batch, o *tidegate.Outcome) { o.Emit(kept, tidegate.Message{}) },
		"panic: tidegate: a message was kept from an earlier call": func(b tidegate.Batch, o *tidegate.Outcome) { o.Emit(b.Record(0), kept.Forward()) },
		"panic: tidegate: Fail with a nil error":                   func(b tidegate.Batch, o *tidegate.Outcome) { o.Fail(b.Record(0), nil) },
	} {
		got := tidegatetest.HandleBatch(func(b tidegate.Batch, o *tidegate.Outcome) error { misuse(b, o); return nil }, values("a")...)
		equal(t, "misuse", describe(got), []string{"0 failed: " + name})
	}
}

func TestGoexitEndsTheGoroutineAndNothingElse(t *testing.T) {
	ended := make(chan bool)
	go func() {
		defer close(ended)
		tidegatetest.Handle(func(tidegate.Record) (tidegate.Messages, error) {
			runtime.Goexit()
			return tidegate.None(), nil
		}, tidegatetest.Record{})
		t.Error("the call went on")
	}()
	<-ended
	equal(t, "next call", describe(tidegatetest.Handle(mayPanic, values("a")...)), []string{"0: a"})
}

func TestRegisteringTakesOneFunction(t *testing.T) {
	for name, register := range map[string]func(){
		"tidegate: Handle of a nil function":      func() { tidegate.Handle(nil) },
		"tidegate: HandleBatch of a nil function": func() { tidegate.HandleBatch(nil) },
		"tidegate: HandleJSON of a nil function":  func() { tidegate.HandleJSON[int, int](nil) },
		"tidegate: HandleBatch after another function was registered: a component holds one function": func() {
			tidegate.Handle(mayPanic)
			tidegate.HandleBatch(func(tidegate.Batch, *tidegate.Outcome) error { return nil })
		},
	} {
		func() {
			defer func() { equal(t, "panic", recover(), any(name)) }()
			wire.Run(register, wireBatch())
		}()
	}
}

func TestWithoutAFunctionEveryRecordIsRetried(t *testing.T) {
	outcome := wire.Run(func() {}, wireBatch())
	for _, f := range outcome.Failures {
		equal(t, "kind", f.Kind, wire.Retry)
		equal(t, "reason", f.Reason, "tidegate: no function is registered: call tidegate.Handle from init")
	}
	equal(t, "failures", len(outcome.Failures), 4)
}

func TestAllCanBeLeftEarly(t *testing.T) {
	outcomeOf(func(batch tidegate.Batch, _ *tidegate.Outcome) {
		for r := range batch.All() {
			for range r.Headers() {
				break
			}
			if r.Index() == 1 {
				break
			}
		}
		equal(t, "records", len(slices.Collect(batch.All())), 4)
	})
}
