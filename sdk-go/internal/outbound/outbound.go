// Package outbound is HTTP by wasi:http, for packages fetch and wasihttp: requests, answers, and the
// waiting of many goroutines for them in an instance of one thread.
//
// It exists in a component only. What is here for all platforms is what those packages show of it.
package outbound

import "io"

// Error is why there is no answer, or no end of one.
type Error struct {
	// Code is the error code of wasi:http, by its name there: HTTP-request-denied.
	Code string
	// Detail says more, for people. It may be empty.
	Detail string
}

// Error returns the code, and the detail if there is one.
func (e *Error) Error() string {
	if e.Detail == "" {
		return "wasi:http: " + e.Code
	}
	return "wasi:http: " + e.Code + ": " + e.Detail
}

// Timeout reports whether the time was up: that of the manifest, or that of another in between.
func (e *Error) Timeout() bool {
	switch e.Code {
	case "DNS-timeout", "connection-timeout", "connection-read-timeout", "connection-write-timeout",
		"HTTP-response-timeout":
		return true
	}
	return false
}

// Field is a header or a trailer.
type Field struct{ Name, Value string }

// Request is what to ask.
type Request struct {
	Method        string // GET if empty
	Scheme        string // http or https
	Authority     string // host and port
	PathWithQuery string
	Fields        []Field   // without Content-Length
	Body          io.Reader // nil: none; closed if it is a Closer
	Length        int64     // of the body; negative: unknown
}
