//go:build wasip1

package outbound

import (
	"context"
	"errors"
	"io"

	"github.com/tidegate/tidegate/sdk-go/internal/abi"
	types "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_http_types"
	streams "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_io_streams"
	wit "github.com/tidegate/tidegate/sdk-go/internal/wit/types"
)

// The most bytes of a body that are read before they are sent.
const chunkBytes = 32 << 10

var errLength = &Error{Code: "HTTP-request-body-size", Detail: "the body is not as long as it was said to be"}

// sender sends the body of a request, in a goroutine of its own: the answer may come before the body
// is through.
type sender struct {
	source io.Reader
	cancel context.CancelFunc
	ended  bool
	err    error // what is wrong with the body; nil if the other side did not want all of it
}

func send(ctx context.Context, body *types.OutgoingBody, r *Request) *sender {
	ctx, cancel := context.WithCancel(ctx)
	s := &sender{source: r.Body, cancel: cancel}
	go func() {
		defer cancel()
		s.err = s.run(ctx, body)
		if !s.ended {
			s.ended = true
			closeBody(s.source)
		}
	}()
	return s
}

// stop ends the sending, wherever it is.
func (s *sender) stop() {
	if !s.ended {
		s.ended = true
		s.cancel()
		closeBody(s.source)
	}
}

func (s *sender) run(ctx context.Context, body *types.OutgoingBody) error {
	stream := body.Write().Ok()
	complete, err := s.copyTo(ctx, stream)
	stream.Drop()
	if !complete {
		body.Drop()
		return err
	}
	abi.Import(errorBytes, func() {
		if types.OutgoingBodyFinish(body, wit.None[*types.Fields]()).IsErr() {
			err = errLength
		}
	})
	return err
}

// copyTo reports whether all of the body was written.
func (s *sender) copyTo(ctx context.Context, stream *streams.OutputStream) (complete bool, err error) {
	buffer := make([]byte, chunkBytes)
	for {
		n, err := s.source.Read(buffer)
		if written, failed := writeAll(ctx, stream, buffer[:n]); !written {
			return false, failed
		}
		switch {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		}
	}
}

func writeAll(ctx context.Context, stream *streams.OutputStream, bytes []byte) (written bool, err error) {
	for len(bytes) > 0 {
		n, err := writeNow(stream, bytes)
		if err == nil && n == 0 {
			err = wait(ctx, stream.Subscribe())
		}
		if err != nil {
			return false, asBodyError(err)
		}
		bytes = bytes[n:]
	}
	return true, nil
}

// writeNow writes as much as there is room for.
func writeNow(stream *streams.OutputStream, bytes []byte) (n int, err error) {
	abi.Import(errorBytes, func() {
		room := stream.CheckWrite()
		if room.IsErr() {
			err = streamError(room.Err(), "")
			return
		}
		n = int(min(uint64(len(bytes)), room.Ok()))
		if n == 0 {
			return
		}
		if written := stream.Write(bytes[:n]); written.IsErr() {
			err = streamError(written.Err(), "")
		}
	})
	return n, err
}

// asBodyError returns what is wrong with the body itself. Of all else, as of a connection that
// ended, the answer says why.
func asBodyError(err error) error {
	var coded *Error
	if errors.As(err, &coded) && coded.Code == "HTTP-request-body-size" {
		return errLength
	}
	return nil
}
