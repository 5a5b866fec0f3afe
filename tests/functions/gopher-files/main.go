// The twin of the function in ../files: does with files what the value of the record says. The message
// says what came of it, or "refused" with the error.
package main

import (
	"errors"
	"os"
	"strings"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

// What is written to files.
const content = "written by a function"

func init() { tidegate.Handle(obey) }

func main() {}

func obey(record tidegate.Record) (tidegate.Messages, error) {
	answer, err := act(string(record.Value()))
	if err != nil {
		answer = "refused: " + err.Error()
	}
	return tidegate.One(record.WithValue([]byte(answer))), nil
}

func act(order string) (string, error) {
	word, path, _ := strings.Cut(order, " ")
	switch word {
	case "read":
		bytes, err := os.ReadFile(path)
		return string(bytes), err
	case "write":
		return "done", os.WriteFile(path, []byte(content), 0o644)
	case "remove":
		return "done", os.Remove(path)
	case "list":
		entries, err := os.ReadDir(path)
		names := make([]string, 0, len(entries))
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return strings.Join(names, " "), err
	}
	return "", errors.New("unknown order")
}
