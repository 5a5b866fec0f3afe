package main

import (
	"testing"

	tidegate "github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func TestARecordComesOutAsItWentIn(t *testing.T) {
	headers := []tidegate.Header{{Name: []byte("h"), Value: []byte("x")}}
	outcome := tidegatetest.Run(tidegatetest.Record{Key: []byte("k"), Value: []byte("v"), Headers: headers})

	message := outcome.Messages[0]
	header, _ := message.Header("h")
	if string(message.Key) != "k" || string(message.Value) != "v" || string(header) != "x" {
		t.Errorf("it became %+v", message)
	}
}
