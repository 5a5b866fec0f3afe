// An aggregate: the numbers of a batch become one message for each key, with their count and sum.
//
// A batch is what was there when an instance became free: from one record up to the limits in the
// manifest. It never waits to fill, so it is no time window, and who reads the totals has to add
// them up further. It makes fewer messages out of many, most where most is needed: under load.
//
// A total is a message of one record, the last that it counts. No record of the batch is done before it is
// acknowledged, so nothing is missing in the totals; after a crash some records are counted again.
package main

import (
	"errors"
	"strconv"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

// Total is what goes out for a key.
type Total struct {
	Count uint64 `json:"count"`
	Sum   int64  `json:"sum"`
	last  tidegate.Record
}

// Totals are the totals since the last failure, each with the last record that it counts.
type Totals map[string]Total

func init() { tidegate.HandleBatch(aggregate) }

func main() {}

// aggregate adds the records up. One without a key or a number is rejected, and the others of its key
// behind it are called again then, with what was answered for them thrown away. So no total reaches
// across it.
func aggregate(batch tidegate.Batch, outcome *tidegate.Outcome) error {
	totals := Totals{}
	for record := range batch.All() {
		key, number, err := number(record)
		if err != nil {
			outcome.Fail(record, err)
			if err := totals.emit(outcome); err != nil {
				return err
			}
			continue
		}
		total := totals[key]
		total.Count++
		total.Sum += int64(number)
		total.last = record
		totals[key] = total
	}
	return totals.emit(outcome)
}

// number returns the key of a record and its number: of 32 bits, so that no sum is too large.
func number(record tidegate.Record) (string, int32, error) {
	if record.Key() == nil {
		return "", 0, tidegate.Reject(errors.New("the record has no key to add it up under"))
	}
	number, err := strconv.ParseInt(string(record.Value()), 10, 32)
	if err != nil {
		return "", 0, tidegate.Reject(errors.New("the value is no whole number of 32 bits"))
	}
	return string(record.Key()), int32(number), nil
}

// emit emits the totals and forgets them. The SDK puts them into the order of their records.
func (totals Totals) emit(outcome *tidegate.Outcome) error {
	for _, total := range totals {
		message, err := total.last.WithJSON(total)
		if err != nil {
			return err
		}
		outcome.Emit(total.last, message.WithoutHeaders())
	}
	clear(totals)
	return nil
}
