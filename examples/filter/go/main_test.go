package main

import (
	"testing"

	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func TestALineHasTheLevelItTells(t *testing.T) {
	for value, expected := range map[string]bool{
		`{"level": "debug", "message": "x"}`:      true,
		`{"level": "error", "message": "debug"}`:  false,
		`debug: x`:                                false,
		`{}`:                                      false,
		`{"LEVEL": "debug"}`:                      false,
		`["debug"]`:                               false,
		`{"level": "debug", "n": 1e999}`:          true,
		`{"level": "debug", "LEVEL": "info"}`:     true,
		`{"level": null}`:                         false,
		`{"x": [{"level": 1}], "level": "trace"}`: true,
	} {
		record := tidegatetest.Record{Value: []byte(value)}.View()
		if hasLevel(record, []string{"debug", "trace"}) != expected {
			t.Errorf("%s has such a level: %t", value, !expected)
		}
	}
}
