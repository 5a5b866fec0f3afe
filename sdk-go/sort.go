package tidegate

import (
	"cmp"
	"slices"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// sortMessages puts the messages in the order of their records, as the contract asks. Only a
// function of a batch that emits out of order pays for this.
func sortMessages(o *wire.Outcome) {
	order := make([]int, len(o.Sources))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(o.Sources[a], o.Sources[b]) })

	var headers []int
	if starts := startsOf(o.Headers.Counts); len(starts) > 0 {
		for _, message := range order {
			for header := starts[message]; header < starts[message+1]; header++ {
				headers = append(headers, header)
			}
		}
	}
	sortColumn(&o.Headers.Names, headers)
	sortColumn(&o.Headers.Values, headers)

	o.Sources = sorted(o.Sources, order)
	o.Partitions = sorted(o.Partitions, order)
	o.Timestamps = sorted(o.Timestamps, order)
	o.Headers.Counts = sorted(o.Headers.Counts, order)
	sortColumn(&o.Topics, order)
	sortColumn(&o.Keys, order)
	sortColumn(&o.Values, order)
}

// sorted returns a list in another order; one that is empty, because all of it is the default,
// stays so.
func sorted[T any](list []T, order []int) []T {
	if len(list) == 0 {
		return list
	}
	in := make([]T, len(order))
	for to, from := range order {
		in[to] = list[from]
	}
	return in
}

func sortColumn(c *wire.Column, order []int) {
	starts := startsOf(c.Lens)
	if len(starts) == 0 {
		return
	}
	data := make([]byte, 0, len(c.Data))
	for _, from := range order {
		data = append(data, c.Data[starts[from]:starts[from+1]]...)
	}
	c.Data = data
	c.Lens = sorted(c.Lens, order)
}

// startsOf returns where each entry starts, and where the last one ends. A list that is empty has
// no entries, not even a start.
func startsOf(lens []int32) []int {
	if len(lens) == 0 {
		return nil
	}
	starts := make([]int, 1, len(lens)+1)
	end := 0
	for _, n := range lens {
		end += int(max(n, 0))
		starts = append(starts, end)
	}
	return starts
}
