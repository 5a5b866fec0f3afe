package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/sdk-go"
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
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
		io.WriteString(w, "why")
	})
	mux.HandleFunc("/compressed", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, "as it came, asked for ", r.Header.Values("Accept-Encoding"))
	})
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

func TestNothingIsDecompressedOrAskedToBeCompressed(t *testing.T) {
	response, err := fetch.Get(context.Background(), server(t)+"/compressed")
	if got := read(t, response, err); got != "200 as it came, asked for []" {
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

func TestAnErrorNamesNeitherPathNorQuery(t *testing.T) {
	at := server(t)
	_, late := fetch.Do(context.Background(), &fetch.Request{URL: at + "/never?secret", Timeout: 20 * time.Millisecond})
	_, invalid := fetch.Do(context.Background(), &fetch.Request{Method: "PUT", URL: "secret"})
	for want, err := range map[string]error{
		"GET " + at + ": context deadline exceeded":             late,
		"PUT: the URL begins with neither http:// nor https://": invalid,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestAStatusIsARetryOrAReject(t *testing.T) {
	at := server(t)
	for status, want := range map[int]string{
		200: "", 204: "", 302: "retry", 400: "reject", 404: "reject", 408: "retry", 425: "retry", 429: "retry", 500: "retry", 503: "retry",
	} {
		response, err := fetch.Get(context.Background(), at+"/status/"+strconv.Itoa(status))
		if err != nil {
			t.Fatal(err)
		}
		err = response.ErrorForStatus()
		var e *tidegate.Error
		switch {
		case want == "":
			if err != nil {
				t.Errorf("%d: %v", status, err)
			}
			response.Body.Close()
		case !errors.As(err, &e) || e.IsReject() != (want == "reject") || err.Error() != fmt.Sprintf("GET %s: the answer is %d", at, status):
			t.Errorf("%d: %v, want a %s", status, err, want)
		default:
			if _, err := response.Bytes(); err == nil {
				t.Errorf("%d: the body is open", status)
			}
		}
	}
}

func TestJSONIsRead(t *testing.T) {
	ask := func(body string) (*fetch.Response, error) {
		return fetch.Post(context.Background(), server(t)+"/echo", "application/json", []byte(body))
	}
	response, err := ask(`{"name": "Ada"}`)
	if err != nil {
		t.Fatal(err)
	}
	var customer struct{ Name string }
	if err := response.JSON(&customer); err != nil || customer.Name != "Ada" {
		t.Error(customer, err)
	}
	if response, err = ask("<html>"); err != nil {
		t.Fatal(err)
	}
	if err := response.JSON(&customer); err == nil || !strings.Contains(err.Error(), ": bad JSON in the answer: invalid character '<'") {
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
