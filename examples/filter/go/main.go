// A filter: log lines of some levels go no further.
package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

// dropped are the levels that are dropped, as the manifest says. Read once by each instance.
var dropped = strings.Fields(os.Getenv("DROP_LEVELS"))

func init() { tidegate.Handle(filter) }

func main() {}

// filter passes a log line on as it is, or answers with no message, and the record is done.
func filter(record tidegate.Record) (tidegate.Messages, error) {
	if hasLevel(record, dropped) {
		return tidegate.None(), nil
	}
	return tidegate.One(record.Forward()), nil
}

// hasLevel says whether the line has one of these levels. What is no JSON object, or does not tell its
// level, has none of them: a filter in doubt loses nothing. The line is a map because for a struct Go would
// take a key "LEVEL" as well.
func hasLevel(record tidegate.Record, levels []string) bool {
	var line map[string]json.RawMessage
	var level string
	return record.DecodeJSON(&line) == nil &&
		json.Unmarshal(line["level"], &level) == nil &&
		slices.Contains(levels, level)
}
