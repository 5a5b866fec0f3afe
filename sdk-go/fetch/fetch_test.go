package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/sdk-go/fetch"
)

func server(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.Method) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.Header().Set("X-Type", r.Header.Get("Content-Type"))
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/hello", http.StatusFound) })
	mux.HandleFunc("/never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func read(t *testing.T, response *fetch.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	body, err := response.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.Status, " ", string(body))
}

func TestGet(t *testing.T) {
	response, err := fetch.Get(context.Background(), server(t)+"/hello")
	if got := read(t, response, err); got != "200 hello GET" {
		t.Error(got)
	}
}

func TestPostSendsTheTypeAndTheLength(t *testing.T) {
	response, err := fetch.Post(context.Background(), server(t)+"/echo", "text/plain", []byte("body"))
	if got := read(t, response, err); got != "200 body" {
		t.Error(got)
	}
	if got := response.Header.Get("X-Type") + " " + response.Header.Get("x-length"); got != "text/plain 4" {
		t.Error(got)
	}
}

func TestABodyOfUnknownLengthIsStreamed(t *testing.T) {
	body := io.MultiReader(strings.NewReader("a"), strings.NewReader("b"))
	response, err := fetch.Do(context.Background(), &fetch.Request{Method: "PUT", URL: server(t) + "/echo", Body: body})
	if got := read(t, response, err); got != "200 ab" {
		t.Error(got)
	}
	if got := response.Header.Get("X-Length"); got != "-1" {
		t.Error(got)
	}
}

func TestARedirectIsAnAnswer(t *testing.T) {
	response, err := fetch.Get(context.Background(), server(t)+"/to")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.Status != 302 || response.Header.Get("Location") != "/hello" {
		t.Error(response)
	}
}

func TestTheTimeoutEndsIt(t *testing.T) {
	_, err := fetch.Do(context.Background(), &fetch.Request{URL: server(t) + "/never", Timeout: 20 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// closer is a body that knows whether it was closed.
type closer struct {
	bytes.Buffer
	closed bool
}

func (c *closer) Close() error {
	c.closed = true
	return nil
}

func TestWhatIsNoURLIsRefusedAndItsBodyClosed(t *testing.T) {
	for _, url := range []string{"", "hello", "ftp://example.com/", "http://", "http://me@example.com/", "http://[/"} {
		body := new(closer)
		_, err := fetch.Do(context.Background(), &fetch.Request{Method: "POST", URL: url, Body: body})
		if err == nil || !body.closed {
			t.Errorf("%q: %v, closed: %t", url, err, body.closed)
		}
	}
}

func TestHeadersKnowNoCase(t *testing.T) {
	header := fetch.Header{}
	header.Set("X-One", "1")
	header.Add("x-ONE", "2")
	if got := header.Get("x-One"); got != "1" || len(header["x-one"]) != 2 {
		t.Error(header)
	}
	if got := fetch.Header(nil).Get("x-one"); got != "" {
		t.Error(got)
	}
}

func ExampleDo() {
	stock := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Method, " ", r.URL.Path, " ", r.Header.Get("Authorization"))
	}))
	defer stock.Close()

	response, err := fetch.Do(context.Background(), &fetch.Request{
		Method:  "PUT",
		URL:     stock.URL + "/items/7",
		Header:  fetch.Header{"authorization": {"Bearer secret"}},
		Body:    strings.NewReader(`{"count": 3}`),
		Timeout: 2 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := response.Bytes()
	fmt.Println(response.Status, string(body), err)
	// Output: 200 PUT /items/7 Bearer secret <nil>
}
