//go:build wasip1

package wasihttp

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/tidegate/tidegate/sdk-go/internal/outbound"
)

func init() { http.DefaultTransport = Transport{} }

// What net/http itself sends if the request has no other.
const userAgent = "Go-http-client/1.1"

// RoundTrip sends a request and returns its answer, whose body is read as it comes. The body of the
// request is sent meanwhile.
func (Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	request, err := newRequest(r)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	answer, err := outbound.Do(r.Context(), request)
	if err != nil {
		return nil, err
	}
	response := &http.Response{
		Status:        strconv.Itoa(answer.Status) + " " + http.StatusText(answer.Status),
		StatusCode:    answer.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        toHeader(answer.Fields),
		ContentLength: -1,
		Request:       r,
	}
	if length, err := strconv.ParseInt(response.Header.Get("Content-Length"), 10, 64); err == nil && length >= 0 {
		response.ContentLength = length
	}
	response.Body = &body{Body: answer.Body, response: response}
	return response, nil
}

func newRequest(r *http.Request) (*outbound.Request, error) {
	switch {
	case r.URL == nil:
		return nil, fmt.Errorf("wasihttp: the request has no URL")
	case r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return nil, fmt.Errorf("wasihttp: unsupported protocol scheme %q", r.URL.Scheme)
	case r.Host != "" && r.Host != r.URL.Host:
		return nil, fmt.Errorf("wasihttp: a request to %s cannot be for the host %s", r.URL.Host, r.Host)
	}
	request := &outbound.Request{
		Method:        r.Method,
		Scheme:        r.URL.Scheme,
		Authority:     r.URL.Host,
		PathWithQuery: r.URL.RequestURI(),
		Fields:        toFields(r.Header),
		Length:        -1,
	}
	if r.Body != nil && r.Body != http.NoBody {
		request.Body = r.Body
		if r.ContentLength > 0 {
			request.Length = r.ContentLength
		}
	}
	return request, nil
}

// ofConnection are the headers that are not a function's to set, and the length, which is taken
// from the request.
var ofConnection = map[string]bool{
	"Connection": true, "Content-Length": true, "Host": true, "Http2-Settings": true, "Keep-Alive": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

func toFields(header http.Header) []outbound.Field {
	var fields []outbound.Field
	for name, values := range header {
		if ofConnection[http.CanonicalHeaderKey(name)] {
			continue
		}
		for _, value := range values {
			// A User-Agent that is empty is how net/http is told to send none.
			if value != "" || name != "User-Agent" {
				fields = append(fields, outbound.Field{Name: name, Value: value})
			}
		}
	}
	if _, ok := header["User-Agent"]; !ok {
		fields = append(fields, outbound.Field{Name: "User-Agent", Value: userAgent})
	}
	return fields
}

func toHeader(fields []outbound.Field) http.Header {
	header := make(http.Header, len(fields))
	for _, field := range fields {
		header.Add(field.Name, field.Value)
	}
	return header
}

// body gives its response the trailers when it ends.
type body struct {
	*outbound.Body
	response *http.Response
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err == io.EOF {
		if trailers := b.Trailers(); len(trailers) > 0 {
			b.response.Trailer = toHeader(trailers)
		}
	}
	return n, err
}
