package main

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// obeyed counts the records that this instance was given. One that took the place of another begins
// anew.
var obeyed int

func random() []byte {
	var number [8]byte
	rand.Read(number[:]) // It never fails.
	return fmt.Appendf(nil, "%x", number)
}

// littered holds the texts of the newest record alone, so that those before are garbage.
var littered []string

func litter(count int) {
	littered = make([]string, count)
	for n := range littered {
		littered[n] = strconv.Itoa(obeyed + n)
	}
}

func memory() []byte {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	// What has a finalizer goes with the second.
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return fmt.Appendf(nil,
		`{"records":%d,"sys-bytes":%d,"in-use-bytes":%d,"collections":%d,"pause-ns":%d,"cpu-fraction":%g}`,
		obeyed, before.Sys, after.HeapAlloc, before.NumGC, before.PauseTotalNs, before.GCCPUFraction)
}

// How far what leave left behind is. There is one thread, so that nothing else need guard them.
var (
	turns int
	fired bool
	due   time.Time
)

// leave returns when its goroutine has begun.
func leave() {
	begun := make(chan struct{})
	go func() {
		close(begun)
		for {
			turns++
			runtime.Gosched()
		}
	}()
	<-begun
	const wait = time.Millisecond
	due = time.Now().Add(wait)
	time.AfterFunc(wait, func() { fired = true })
}

// idle lets time pass and no one else run. It goes on for as long again, so that the timer is due
// however late it was started.
func idle() {
	for time.Since(due) < time.Millisecond {
	}
}

func left() []byte {
	return fmt.Appendf(nil, `{"turns":%d,"fired":%t}`, turns, fired)
}
