// A filter: log lines of some levels go no further.
package main

import (
	"os"
	"slices"
	"strings"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

// dropped are the levels that are dropped, as the manifest says. Read once by each instance.
var dropped = strings.Fields(os.Getenv("DROP_LEVELS"))

// Line is what is looked at of a log line.
type Line struct {
	Level string `json:"level"`
}

func init() { tidegate.Handle(filter) }

func main() {}

// filter passes a log line on as it is, or answers with no message, and the record is done.
func filter(record tidegate.Record) (tidegate.Messages, error) {
	if hasLevel(record, dropped) {
		return tidegate.None(), nil
	}
	return tidegate.One(record.Forward()), nil
}

// hasLevel says whether the line has one of these levels. What is no JSON, or does not tell its level,
// has none of them: a filter in doubt loses nothing.
func hasLevel(record tidegate.Record, levels []string) bool {
	var line Line
	return record.DecodeJSON(&line) == nil && slices.Contains(levels, line.Level)
}
