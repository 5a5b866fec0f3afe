//go:build wasip1

package fetch

import (
	"context"
	"net/url"

	"github.com/tidegate/tidegate/sdk-go/internal/outbound"
)

func send(ctx context.Context, r *Request, to *url.URL) (*Response, error) {
	request := &outbound.Request{
		Method:        r.Method,
		Scheme:        to.Scheme,
		Authority:     to.Host,
		PathWithQuery: to.RequestURI(),
		Body:          r.Body,
		Length:        length(r.Body),
	}
	for name, values := range r.Header {
		for _, value := range values {
			request.Fields = append(request.Fields, outbound.Field{Name: name, Value: value})
		}
	}
	answer, err := outbound.Do(ctx, request)
	if err != nil {
		return nil, err
	}
	response := &Response{Status: answer.Status, Header: make(Header, len(answer.Fields)), Body: answer.Body}
	for _, field := range answer.Fields {
		response.Header.Add(field.Name, field.Value)
	}
	return response, nil
}
