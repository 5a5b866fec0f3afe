package main

import (
	"testing"

	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func TestALineHasTheLevelItTells(t *testing.T) {
	for value, expected := range map[string]bool{
		`{"level": "debug", "message": "x"}`:     true,
		`{"level": "error", "message": "debug"}`: false,
		`debug: x`:                               false,
		`{}`:                                     false,
	} {
		record := tidegatetest.Record{Value: []byte(value)}.View()
		if hasLevel(record, []string{"debug", "trace"}) != expected {
			t.Errorf("%s has such a level: %t", value, !expected)
		}
	}
}
