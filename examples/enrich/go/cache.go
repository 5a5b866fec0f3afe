package main

import "time"

// cache remembers values by id, so many at most, and each for so long. For a new one the oldest goes.
type cache[T any] struct {
	most   int
	age    time.Duration
	values map[string]T
	order  []entry // the oldest first
}

// entry is when a value was put.
type entry struct {
	put time.Time
	id  string
}

func newCache[T any](most int, age time.Duration) *cache[T] {
	return &cache[T]{most: most, age: age, values: map[string]T{}}
}

// get returns the value, if there is one that is not too old.
func (c *cache[T]) get(id string, now time.Time) (T, bool) {
	for len(c.order) > 0 && now.Sub(c.order[0].put) >= c.age {
		c.forget()
	}
	value, ok := c.values[id]
	return value, ok
}

// put remembers a value that was not there.
func (c *cache[T]) put(id string, value T, now time.Time) {
	if len(c.order) >= c.most {
		c.forget()
	}
	c.values[id] = value
	c.order = append(c.order, entry{put: now, id: id})
}

// forget forgets the oldest.
func (c *cache[T]) forget() {
	delete(c.values, c.order[0].id)
	c.order = c.order[1:]
}
