package tidegate

import (
	"errors"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// Error says of another error whether the record is to be tried again. [Retry] and [Reject] make
// it; errors.Is and errors.As see the error inside.
//
//   - Retry: it may succeed later. The record is tried again after a backoff, up to the trigger's
//     retry.attempts and retry.max-age; later records of its key wait for it.
//   - Reject: it never will. It is given up now: to the dead letter topic, or as on-exhausted says.
//
// An error that is neither is a retry. Most errors that reach a function come from its surroundings
// (a service that is down, a time-out), and the two mistakes do not weigh the same: retrying what
// cannot succeed costs a few attempts and ends in the same place, rejecting what could have
// succeeded gives the record up. Where an error means bad input, say so with Reject.
//
// An Error may be wrapped further. If there are several in a chain or among joined errors, the one
// that [errors.As] finds counts: the outermost, and the first of those joined.
//
// The text of the error is the reason. It is for people: it is written to the log and into the
// header tidegate-reason of the dead letter, where it is cut after 1,000 bytes.
type Error struct {
	err  error
	kind wire.Kind
}

// Retry says that the record may succeed later. It is what an error means anyway, unless a reject
// is inside: Retry overrules it. Retry(nil) is nil.
func Retry(err error) error { return newError(err, wire.Retry) }

// Reject says that the record will never succeed. Reject(nil) is nil.
func Reject(err error) error { return newError(err, wire.Reject) }

func newError(err error, kind wire.Kind) error {
	if err == nil {
		return nil
	}
	return &Error{err: err, kind: kind}
}

// Error returns the text of the error inside.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the error inside.
func (e *Error) Unwrap() error { return e.err }

// IsRetry reports whether the record is to be tried again.
func (e *Error) IsRetry() bool { return e.kind == wire.Retry }

// IsReject reports whether the record is to be given up.
func (e *Error) IsReject() bool { return e.kind == wire.Reject }

func kindOf(err error) wire.Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.kind
	}
	return wire.Retry
}
