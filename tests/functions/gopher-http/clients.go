package main

import (
	"context"
	"io"
	"net/http"

	"github.com/tidegate/tidegate/sdk-go/fetch"
	_ "github.com/tidegate/tidegate/sdk-go/wasihttp"
)

func withNet(ctx context.Context, method, url string, body io.Reader) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if long != "" {
		request.Header.Set("X-Long", long)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	trailer := func(name string) string { return response.Trailer.Get(name) }
	return &answer{response.StatusCode, response.Header.Get, trailer, response.Body}, nil
}

func withFetch(ctx context.Context, method, url string, body io.Reader) (*answer, error) {
	header := fetch.Header{}
	if long != "" {
		header.Set("X-Long", long)
	}
	response, err := fetch.Do(ctx, &fetch.Request{Method: method, URL: url, Header: header, Body: body})
	if err != nil {
		return nil, err
	}
	trailer := func(string) string { return "" }
	return &answer{response.Status, response.Header.Get, trailer, response.Body}, nil
}
