package wasihttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tidegate/tidegate/sdk-go/wasihttp"
)

func TestTheDefaultIsLeftAloneOutsideOfAComponent(t *testing.T) {
	if _, ok := http.DefaultTransport.(*http.Transport); !ok {
		t.Errorf("%T", http.DefaultTransport)
	}
}

func TestATimeoutIsOne(t *testing.T) {
	timeout := &wasihttp.Error{Code: "HTTP-response-timeout"}
	denied := &wasihttp.Error{Code: "HTTP-request-denied", Detail: "why"}
	if !timeout.Timeout() || denied.Timeout() {
		t.Error(timeout, denied)
	}
	if timeout.Error() != "wasi:http: HTTP-response-timeout" || denied.Error() != "wasi:http: HTTP-request-denied: why" {
		t.Error(timeout, denied)
	}
}

func ExampleTransport() {
	prices := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "price of ", r.URL.Query().Get("item"))
	}))
	defer prices.Close()

	client := http.Client{Transport: wasihttp.Transport{}, Timeout: 2 * time.Second}
	response, err := client.Get(prices.URL + "/?item=7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Println(response.Status, string(body), err)
	// Output: 200 OK price of 7 <nil>
}
