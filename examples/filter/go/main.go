// A filter: log lines of some levels go no further.
package main

import (
	"bytes"
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

// hasLevel says whether the line has one of these levels. What does not tell its level plainly has none of
// them: a filter in doubt loses nothing.
func hasLevel(record tidegate.Record, levels []string) bool {
	level, ok := levelOf(record.Value())
	return ok && slices.Contains(levels, level)
}

// levelOf returns the level that a line tells, if it is a JSON object with one key "level", and text under
// it. It goes from key to key because for a struct Go would take "LEVEL" as well, and the last of several.
func levelOf(line []byte) (level string, ok bool) {
	if !json.Valid(line) {
		return "", false
	}
	// From here on it is well-formed, and a number that is too large for Go is of no interest.
	decoder := json.NewDecoder(bytes.NewReader(line))
	if start, _ := decoder.Token(); start != json.Delim('{') {
		return "", false
	}
	for decoder.More() {
		key, _ := decoder.Token()
		var value any
		_ = decoder.Decode(&value)
		if key != "level" {
			continue
		}
		text, isText := value.(string)
		if !isText || ok {
			return "", false
		}
		level, ok = text, true
	}
	return level, ok
}
