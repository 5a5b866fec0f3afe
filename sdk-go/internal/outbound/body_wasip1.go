//go:build wasip1

package outbound

import (
	"errors"
	"io"

	"github.com/tidegate/tidegate/sdk-go/internal/abi"
	types "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_http_types"
	streams "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_io_streams"
)

// Body is the body of an answer.
type Body struct{ exchange *exchange }

// ErrClosed is of reading what was closed.
var ErrClosed = errors.New("read of the body of an answer after it was closed")

var errTwice = errors.New("two reads of the body of an answer at once")

// Read reads as much as there is, and waits if there is nothing.
func (b *Body) Read(p []byte) (int, error) {
	e := b.exchange
	switch {
	case e.err != nil:
		return 0, e.err
	case e.reading:
		return 0, errTwice
	case len(p) == 0:
		return 0, nil
	}
	e.reading = true
	n, err := e.read(p)
	e.reading = false
	if e.err == nil {
		e.err = err
	}
	if e.err != nil {
		e.free()
	}
	if n > 0 {
		return n, nil
	}
	return 0, e.err
}

// Close ends the exchange, wherever it is.
func (b *Body) Close() error {
	e := b.exchange
	if e.err != nil {
		return nil
	}
	e.err = ErrClosed
	if e.reading {
		e.cancel() // Who reads has handles, and frees them when it is back.
	} else {
		e.free()
	}
	return nil
}

// Trailers returns what came behind the body, once it was read to its end.
func (b *Body) Trailers() []Field { return b.exchange.trailers }

func (e *exchange) read(p []byte) (int, error) {
	for {
		n, err := e.readNow(p)
		switch {
		case n > 0:
			return n, nil
		case err == io.EOF:
			return 0, e.finish()
		case err == nil:
			err = wait(e.ctx, e.stream.Subscribe())
		}
		if err != nil {
			return 0, err
		}
	}
}

// readNow reads what is there.
func (e *exchange) readNow(p []byte) (n int, err error) {
	want := min(len(p), readBytes)
	abi.Import(uintptr(want), func() {
		read := e.stream.Read(uint64(want))
		if read.IsErr() {
			err = streamError(read.Err(), e.origin)
			return
		}
		n = copy(p, read.Ok())
	})
	return n, err
}

// finish gets the trailers behind the body. It returns io.EOF if all is well.
func (e *exchange) finish() error {
	e.stream.Drop()
	future := types.IncomingBodyFinish(e.body)
	defer future.Drop()
	if err := wait(e.ctx, future.Subscribe()); err != nil {
		return err
	}
	var fields *types.Fields
	err := io.EOF
	abi.Import(errorBytes, func() {
		got := future.Get().Some().Ok()
		if got.IsErr() {
			err = newError(got.Err(), e.origin)
			return
		}
		if got.Ok().IsSome() {
			fields = got.Ok().Some()
		}
	})
	if fields != nil {
		e.trailers = entries(fields)
		fields.Drop()
	}
	return err
}

// streamError returns io.EOF for the end. The caller reads the error where the runtime wrote it.
func streamError(err streams.StreamError, origin string) error {
	if err.Tag() == streams.StreamError_Closed {
		return io.EOF
	}
	cause := err.LastOperationFailed()
	defer cause.Drop()
	code := types.HttpErrorCode(cause)
	if code.IsNone() {
		return &Error{Code: "internal-error", Detail: string([]byte(cause.ToDebugString()))}
	}
	return newError(code.Some(), origin)
}
