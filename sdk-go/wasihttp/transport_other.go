//go:build !wasip1

package wasihttp

import "net/http"

// A test may well put a Transport in its place.
var transport = http.DefaultTransport

// RoundTrip does what [http.DefaultTransport] does.
func (Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return transport.RoundTrip(r)
}
