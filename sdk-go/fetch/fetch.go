// Package fetch is a small HTTP client for functions. It does without net/http, which would make a
// component about 8 MiB larger; package wasihttp beside this one is for code that needs net/http.
//
//	func init() {
//		tidegate.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
//			at := "https://prices.example.com/" + url.PathEscape(string(r.Key()))
//			response, err := fetch.Get(context.Background(), at)
//			if err != nil {
//				return tidegate.None(), err // tried again
//			}
//			if err := response.ErrorForStatus(); err != nil {
//				return tidegate.None(), err
//			}
//			price, err := response.Bytes()
//			if err != nil {
//				return tidegate.None(), err
//			}
//			return tidegate.One(r.WithValue(price)), nil
//		})
//	}
//
// The runtime holds every request against the manifest (allow-hosts, allow-networks, http), and has
// the connections, which all instances of the function share. Requests of several goroutines are
// under way at once, though an instance has one thread.
//
// A redirect is an answer like others: its target is in the header Location. There are no cookies,
// nothing is cached, decompressed or tried again.
//
// # Limits
//
// One instance has at most 500 requests under way, waiting ones included, and an answer counts until
// its body was read to its end or closed. The next one fails at once with connection-limit-reached; so
// does one for which no connection of http.connections was free in time. The headers of a request may
// take 32 KiB, each with 72 bytes more than its content, or it fails with
// HTTP-request-header-section-size; a path with its query 16 KiB, or it fails with
// HTTP-request-URI-invalid. The headers of an answer may take as much, or there is
// HTTP-response-header-section-size instead. Bodies and times are bounded by the manifest, times also
// by the function's deadline.
//
// On any other platform, as in go test, it asks by net/http, so that a server of httptest can stand
// in for the real one. What the manifest allows is not checked there.
package fetch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/internal/outbound"
)

// Error is why there is no answer, or no end of one, by the codes of wasi:http:
//
//	var e *fetch.Error
//	if errors.As(err, &e) && e.Code == "HTTP-request-denied" {
//		return tidegate.None(), tidegate.Reject(err) // no retry changes the manifest
//	}
//
// The end of a context or of a timeout is no Error, but [context.DeadlineExceeded] or what the
// context ended in. Outside of a component an error is one of net/http, so there is no Error in go test:
// what a function makes of a code is shown by golden cases, in which an answer may be a "failure".
//
// The texts of this package's errors name method and origin of the request, but neither path nor
// query, because a reason ends up in the log and in dead letters, and secrets stand in URLs.
type Error = outbound.Error

// Header are headers by their names in lower case. The zero Header is empty.
type Header map[string][]string

// Get returns the first value of a header, and the empty string if there is none.
func (h Header) Get(name string) string {
	if values := h[strings.ToLower(name)]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set replaces the values of a header by one.
func (h Header) Set(name, value string) { h[strings.ToLower(name)] = []string{value} }

// Add adds a value to those of a header.
func (h Header) Add(name, value string) {
	name = strings.ToLower(name)
	h[name] = append(h[name], value)
}

// Request is what to ask:
//
//	response, err := fetch.Do(ctx, &fetch.Request{
//		Method:  "PUT",
//		URL:     "https://stock.example.com/items/7",
//		Header:  fetch.Header{"authorization": {"Bearer " + os.Getenv("STOCK_TOKEN")}},
//		Body:    bytes.NewReader(item),
//		Timeout: 2 * time.Second,
//	})
type Request struct {
	// Method is GET if it is empty.
	Method string
	// URL is of http or https.
	URL string
	// Header are the headers. Host, Content-Length and those that belong to a connection are the
	// runtime's, and not to be set.
	Header Header
	// Body is sent as it is read; nil: none. It is closed if it is an [io.Closer]. The length of a
	// [bytes.Reader], [bytes.Buffer] or [strings.Reader] is told to the other side.
	Body io.Reader
	// Timeout is for the whole of it, the body of the answer included. Zero: that of the manifest
	// alone, and that of the context.
	Timeout time.Duration
}

// Response is an answer.
type Response struct {
	// Status is as in 200.
	Status int
	// Header are the headers.
	Header Header
	// Body is read as it comes. It has to be closed, unless it was read to its end.
	Body io.ReadCloser

	about string // method and origin of the request
}

// Bytes reads the body to its end and closes it. The runtime bounds it by http.max-response of the
// manifest, and it lies in the function's memory.
func (r *Response) Bytes() ([]byte, error) {
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// JSON reads the body as JSON into v, a pointer, by the rules of [json.Unmarshal], and closes it.
func (r *Response) JSON(v any) error {
	body, err := r.Bytes()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s: bad JSON in the answer: %w", r.about, err)
	}
	return nil
}

// ErrorForStatus returns nil if the status is one of success, 200 to 299. Otherwise it closes the body
// and returns a reject for a status from 400 to 499, but for 408, 425 and 429: the request is at
// fault, and so would the next one be. It returns a retry for these three, from 500, and for a
// redirect, which nobody followed. Where a status means something else to you, look at it before.
func (r *Response) ErrorForStatus() error {
	if r.Status >= 200 && r.Status < 300 {
		return nil
	}
	_ = r.Body.Close()
	err := fmt.Errorf("%s: the answer is %d", r.about, r.Status)
	switch {
	case r.Status == 408, r.Status == 425, r.Status == 429:
		return tidegate.Retry(err)
	case r.Status >= 400 && r.Status < 500:
		return tidegate.Reject(err)
	}
	return tidegate.Retry(err)
}

// Get asks for a URL.
func Get(ctx context.Context, url string) (*Response, error) {
	return Do(ctx, &Request{URL: url})
}

// Post sends bytes to a URL:
//
//	response, err := fetch.Post(ctx, "https://audit.example.com/entries", "application/json", entry)
func Post(ctx context.Context, url, contentType string, body []byte) (*Response, error) {
	header := Header{"content-type": {contentType}}
	return Do(ctx, &Request{Method: "POST", URL: url, Header: header, Body: bytes.NewReader(body)})
}

// Do sends a request and returns its answer as soon as its head is there. The context is for the
// whole of it, the body of the answer included. An answer is no error, whatever its status.
func Do(ctx context.Context, r *Request) (*Response, error) {
	cancel := context.CancelFunc(func() {})
	if r.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
	}
	about := cmp.Or(r.Method, "GET")
	parsed, err := r.parse()
	if err != nil {
		cancel()
		if closer, ok := r.Body.(io.Closer); ok {
			_ = closer.Close()
		}
		return nil, fmt.Errorf("%s: %w", about, err)
	}
	about += " " + parsed.Scheme + "://" + parsed.Host
	response, err := send(ctx, r, parsed)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", about, err)
	}
	response.about = about
	response.Body = &body{ReadCloser: response.Body, cancel: cancel}
	return response, nil
}

func (r *Request) parse() (*url.URL, error) {
	parsed, err := url.Parse(r.URL)
	var inner *url.Error
	switch {
	case errors.As(err, &inner):
		return nil, inner.Err
	case err != nil:
		return nil, err
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return nil, errors.New("the URL begins with neither http:// nor https://")
	case parsed.Host == "":
		return nil, errors.New("the URL has no host")
	case parsed.User != nil:
		return nil, errors.New("the URL has a user: set the header Authorization")
	}
	return parsed, nil
}

// length returns the length of a body, and -1 if it is unknown.
func length(body io.Reader) int64 {
	if known, ok := body.(interface{ Len() int }); ok {
		return int64(known.Len())
	}
	return -1
}

// body ends the timeout when it is read or closed.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.cancel()
	}
	return n, err
}

func (b *body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
