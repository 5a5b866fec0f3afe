// Package wasihttp makes net/http work in a function.
//
// A function has no sockets: it asks by wasi:http, and the runtime holds every request against the
// manifest (allow-hosts, allow-networks, http). Importing this package for its effect sets
// [http.DefaultTransport], so that http.Get, http.DefaultClient, and every client without a
// transport of its own just work:
//
//	import (
//		"net/http"
//
//		_ "github.com/tidegate/tidegate/sdk-go/wasihttp"
//	)
//
//	func init() {
//		tidegate.Handle(func(r tidegate.Record) (tidegate.Messages, error) {
//			response, err := http.Get("https://prices.example.com/" + url.PathEscape(string(r.Key())))
//			if err != nil {
//				return tidegate.None(), err // tried again
//			}
//			defer response.Body.Close()
//			if response.StatusCode != http.StatusOK {
//				return tidegate.None(), fmt.Errorf("prices: %s", response.Status)
//			}
//			price, err := io.ReadAll(response.Body)
//			if err != nil {
//				return tidegate.None(), err
//			}
//			return tidegate.One(r.WithValue(price)), nil
//		})
//	}
//
// Or give a client its transport by name: see [Transport].
//
// Requests of several goroutines are under way at once, though an instance has one thread. Contexts
// and http.Client.Timeout are honoured; other timers may fire late while all goroutines wait, by a
// quarter of the time waited so far and 100 ms at most. Redirects are requests like others, so the
// manifest must allow where they point. Connections are the runtime's, and shared by all instances
// of the function. What bounds requests, and with which codes they fail, is told by package fetch.
//
// net/http makes a component about 8 MiB larger, which takes longer to compile when the function is
// taken on. Where that matters, use package fetch beside this one.
//
// On any other platform, as in go test, this package leaves [http.DefaultTransport] as it is, and
// [Transport] uses it.
package wasihttp

import (
	"net/http"

	"github.com/tidegate/tidegate/sdk-go/internal/outbound"
)

// Transport is an [http.RoundTripper] by wasi:http. The zero Transport is ready to use:
//
//	client := http.Client{Transport: wasihttp.Transport{}, Timeout: 2 * time.Second}
//
// Headers that belong to a connection (Connection, Transfer-Encoding, Upgrade and the like) are the
// runtime's, and those of the request are left out. So are its trailers. Nothing is decompressed.
// A request goes to the host of its URL; it fails if its Host is another one.
type Transport struct{}

var _ http.RoundTripper = Transport{}

// Error is why there is no answer, or no end of one, by the codes of wasi:http. It is inside the
// [url.Error] that a client returns, whose text has the whole URL, and so has the reason in the log
// and in dead letters if that is what the function returns:
//
//	var e *wasihttp.Error
//	if errors.As(err, &e) && e.Code == "HTTP-request-denied" {
//		return tidegate.None(), tidegate.Reject(err) // no retry changes the manifest
//	}
//
// The end of a context is no Error, but that of the context.
//
// [url.Error]: https://pkg.go.dev/net/url#Error
type Error = outbound.Error
