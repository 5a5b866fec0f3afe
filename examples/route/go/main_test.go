package main

import (
	"testing"

	tidegate "github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func TestTheRegionChoosesTheTopic(t *testing.T) {
	topic := func(region []byte) string {
		headers := []tidegate.Header{{Name: []byte("region"), Value: region}}
		return tidegatetest.Run(tidegatetest.Record{Headers: headers}).Messages[0].Topic
	}
	if got := topic([]byte("eu")); got != "requests-eu" {
		t.Errorf("eu goes to %q", got)
	}
	if got := topic([]byte("mars")); got != "" {
		t.Errorf("mars goes to %q", got)
	}
	if got := topic(nil); got != "" {
		t.Errorf("null goes to %q", got)
	}
}
