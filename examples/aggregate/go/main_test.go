package main

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/sdk-go/tidegatetest"
)

func run(pairs ...string) string {
	var records []tidegatetest.Record
	for i := 0; i < len(pairs); i += 2 {
		records = append(records, tidegatetest.Record{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	var totals string
	for _, message := range tidegatetest.Run(records...).Messages {
		totals += fmt.Sprintf("%d %s\n", message.Record, message.Value)
	}
	return totals
}

func TestEachKeyHasOneTotalAtItsLastRecord(t *testing.T) {
	totals := run("a", "1", "b", "10", "a", "-3")
	if expected := "1 {\"count\":1,\"sum\":10}\n2 {\"count\":2,\"sum\":-2}\n"; totals != expected {
		t.Errorf("the totals are\n%s", totals)
	}
}

func TestNoTotalReachesAcrossAFailure(t *testing.T) {
	totals := run("a", "1", "a", "two", "a", "3")
	if expected := "0 {\"count\":1,\"sum\":1}\n2 {\"count\":1,\"sum\":3}\n"; totals != expected {
		t.Errorf("the totals are\n%s", totals)
	}
}
