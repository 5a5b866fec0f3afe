// The identity: every record comes out as it went in.
package main

import tidegate "github.com/tidegate/tidegate/sdk-go"

func init() { tidegate.Handle(echo) }

func main() {}

// echo answers the record itself. Nothing of it is copied: the host is told to take its fields from
// the source.
func echo(record tidegate.Record) (tidegate.Messages, error) {
	return tidegate.One(record.Forward()), nil
}
