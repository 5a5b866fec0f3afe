//go:build wasip1

package outbound

import (
	"context"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/sdk-go/internal/abi"
	outgoing "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_http_outgoing_handler"
	types "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_http_types"
	streams "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_io_streams"
	wit "github.com/tidegate/tidegate/sdk-go/internal/wit/types"
)

const (
	// The most bytes that are read at once.
	readBytes = 32 << 10
	// The most bytes that a head takes as a list: the runtime reads 64 KiB at once, or twice as much
	// when they come so, and a field takes some of them for where it lies.
	headBytes = 192 << 10
	// The most bytes that an error takes; what they hold are names of fields and the like.
	errorBytes = 16 << 10
	// The most bytes of the headers of a request. The runtime ends the instance of one that has more.
	requestHeadBytes = 32 << 10
	// What the runtime counts for a header beside its content.
	headerBytes = 72
)

// Response is an answer.
type Response struct {
	Status int
	Fields []Field
	// Body has to be closed, unless it was read to its end or to an error.
	Body *Body
}

// exchange is a request and its answer. It owns the handles of both, and drops them in an order
// that the runtime demands: children before parents.
type exchange struct {
	ctx      context.Context
	cancel   context.CancelFunc
	origin   string
	future   *types.FutureIncomingResponse
	response *types.IncomingResponse
	body     *types.IncomingBody
	stream   *streams.InputStream
	sender   *sender
	trailers []Field
	err      error // what reading ended in
	reading  bool  // one goroutine may read while another one closes
}

// open keeps what was never closed from the collector, which would drop handles in any order.
var open = map[*exchange]struct{}{}

// Do sends a request and waits for the head of its answer. The context is that of the whole
// exchange, the body of the answer included.
func Do(ctx context.Context, r *Request) (*Response, error) {
	if ctx.Err() != nil {
		closeBody(r.Body)
		return nil, context.Cause(ctx)
	}
	e := &exchange{origin: r.Scheme + "://" + r.Authority}
	e.ctx, e.cancel = context.WithCancel(ctx)
	open[e] = struct{}{}
	response, err := e.do(r)
	if err != nil {
		// Why the request could not be sent says more than that it was not complete.
		if e.sender != nil && e.sender.err != nil && ctx.Err() == nil {
			err = e.sender.err
		}
		e.free()
		return nil, err
	}
	return response, nil
}

func (e *exchange) do(r *Request) (*Response, error) {
	if err := e.start(r); err != nil {
		return nil, err
	}
	if err := e.await(); err != nil {
		return nil, err
	}
	e.future.Drop() // There is not room for more than is needed of each of 500 requests.
	headers := e.response.Headers()
	response := &Response{Status: int(e.response.Status()), Fields: entries(headers)}
	headers.Drop()
	e.body = e.response.Consume().Ok()
	e.stream = e.body.Stream().Ok()
	response.Body = &Body{exchange: e}
	// For a body that nobody closes.
	runtime.AddCleanup(response.Body, (*exchange).free, e)
	return response, nil
}

// start hands the request over, and begins to send its body.
func (e *exchange) start(r *Request) error {
	request, err := newRequest(r)
	if err != nil {
		closeBody(r.Body)
		return err
	}
	var body *types.OutgoingBody
	if r.Body != nil {
		taken := request.Body()
		if taken.IsErr() {
			request.Drop()
			closeBody(r.Body)
			return &Error{Code: "HTTP-protocol-error", Detail: "the body has no length that can be sent"}
		}
		body = taken.Ok()
	}
	abi.Import(errorBytes, func() {
		handled := outgoing.Handle(request, wit.None[*types.RequestOptions]())
		if handled.IsErr() {
			err = newError(handled.Err(), e.origin)
			return
		}
		e.future = handled.Ok()
	})
	if err != nil {
		if body != nil {
			body.Drop()
		}
		closeBody(r.Body)
		return err
	}
	if body != nil {
		e.sender = send(e.ctx, body, r)
	}
	return nil
}

// await waits for the answer.
func (e *exchange) await() error {
	if err := wait(e.ctx, e.future.Subscribe()); err != nil {
		return err
	}
	var err error
	abi.Import(errorBytes, func() {
		answered := e.future.Get().Some().Ok()
		if answered.IsErr() {
			err = newError(answered.Err(), e.origin)
			return
		}
		e.response = answered.Ok()
	})
	return err
}

// free drops all there is, and ends the sending. It may be called again.
func (e *exchange) free() {
	delete(open, e)
	e.cancel()
	if e.sender != nil {
		e.sender.stop()
	}
	if e.stream != nil {
		e.stream.Drop()
	}
	if e.body != nil {
		e.body.Drop()
	}
	if e.response != nil {
		e.response.Drop()
	}
	if e.future != nil {
		e.future.Drop()
	}
}

func newRequest(r *Request) (*types.OutgoingRequest, error) {
	headers := withLength(r)
	if sizeOf(headers) > requestHeadBytes {
		return nil, &Error{Code: "HTTP-request-header-section-size", Detail: "the headers are larger than 32 KiB"}
	}
	fields := types.MakeFields()
	for _, field := range headers {
		if appended := fields.Append(field.Name, []byte(field.Value)); appended.IsErr() {
			fields.Drop()
			return nil, fieldError(field.Name, appended.Err())
		}
	}
	request := types.MakeOutgoingRequest(fields)
	var code string
	switch {
	case request.SetMethod(method(r.Method)).IsErr():
		code = "HTTP-request-method-invalid"
	case request.SetScheme(wit.Some(scheme(r.Scheme))).IsErr(),
		request.SetAuthority(wit.Some(r.Authority)).IsErr(),
		request.SetPathWithQuery(wit.Some(r.PathWithQuery)).IsErr():
		code = "HTTP-request-URI-invalid"
	default:
		return request, nil
	}
	request.Drop()
	return nil, &Error{Code: code}
}

// withLength returns the headers with the length of the body where the other side may ask for it.
func withLength(r *Request) []Field {
	length := r.Length
	switch {
	case r.Body != nil && length >= 0:
	case r.Body == nil && (r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH"):
		length = 0
	default:
		return r.Fields
	}
	return append(slices.Clip(r.Fields), Field{Name: "Content-Length", Value: strconv.FormatInt(length, 10)})
}

func sizeOf(fields []Field) (bytes int) {
	for _, field := range fields {
		bytes += len(field.Name) + len(field.Value) + headerBytes
	}
	return bytes
}

func fieldError(name string, err types.HeaderError) error {
	detail := "the header " + name + " is not valid"
	if err.Tag() == types.HeaderError_Forbidden {
		detail = "the header " + name + " is not for functions to set"
	}
	return &Error{Code: "HTTP-protocol-error", Detail: detail}
}

func method(name string) types.Method {
	switch name {
	case "", "GET":
		return types.MakeMethodGet()
	case "HEAD":
		return types.MakeMethodHead()
	case "POST":
		return types.MakeMethodPost()
	case "PUT":
		return types.MakeMethodPut()
	case "DELETE":
		return types.MakeMethodDelete()
	case "CONNECT":
		return types.MakeMethodConnect()
	case "OPTIONS":
		return types.MakeMethodOptions()
	case "TRACE":
		return types.MakeMethodTrace()
	case "PATCH":
		return types.MakeMethodPatch()
	}
	return types.MakeMethodOther(name)
}

func scheme(name string) types.Scheme {
	switch name {
	case "http":
		return types.MakeSchemeHttp()
	case "https":
		return types.MakeSchemeHttps()
	}
	return types.MakeSchemeOther(name)
}

// entries copies what is in there.
func entries(fields *types.Fields) []Field {
	var copied []Field
	abi.Import(headBytes, func() {
		for _, entry := range fields.Entries() {
			copied = append(copied, Field{Name: strings.Clone(entry.F0), Value: string(entry.F1)})
		}
	})
	return copied
}

func closeBody(body io.Reader) {
	if closer, ok := body.(io.Closer); ok {
		_ = closer.Close()
	}
}
