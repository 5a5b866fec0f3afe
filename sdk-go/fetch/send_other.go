//go:build !wasip1

package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// transport leaves answers as they come and uses no proxy, as in a component.
var transport = &http.Transport{DisableCompression: true}

func send(ctx context.Context, r *Request, to *url.URL) (*Response, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, to.String(), r.Body)
	if err != nil {
		return nil, err
	}
	if known := length(r.Body); known >= 0 {
		request.ContentLength = known
	}
	for name, values := range r.Header {
		for _, value := range values {
			request.Header.Add(name, value)
		}
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // The text around it has the whole URL.
		}
		return nil, err
	}
	response := &Response{Status: answer.StatusCode, Header: make(Header, len(answer.Header)), Body: answer.Body}
	for name, values := range answer.Header {
		response.Header[strings.ToLower(name)] = values
	}
	return response, nil
}
