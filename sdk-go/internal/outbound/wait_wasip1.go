//go:build wasip1

package outbound

import (
	"context"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"
	"unsafe"

	"github.com/tidegate/tidegate/sdk-go/internal/abi"
	clock "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_clocks_monotonic_clock"
	poll "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_io_poll"
)

// Go's scheduler does not know wasi:io, so when it is idle it waits for its own timers and nothing
// else. What waits for wasi:io is therefore woken by a goroutine, the poller: it lets all others
// run until none can, and polls for all that wait. While a poll is out the instance stands still,
// and nobody can tell when Go's next timer is due. The poll ends at the nearest deadline of a
// context that is waited with, which is known, and for all other timers after a quarter of the time
// it took so far, within these limits: a timer is late by so much at most.
const (
	shortestPoll = time.Millisecond
	longestPoll  = 100 * time.Millisecond
	// How often polls without waiting are made while others can run.
	busyPoll = 200 * time.Microsecond
)

// waiter is a goroutine that waits for a pollable.
type waiter struct {
	pollable *poll.Pollable
	deadline time.Time
	expired  bool
	done     chan struct{}
}

var (
	waiters []*waiter
	// changes counts those who come and go.
	changes uint
	polling bool
)

// wait returns when p is ready or the context is done, and drops p.
func wait(ctx context.Context, p *poll.Pollable) error {
	w := &waiter{pollable: p, done: make(chan struct{})}
	w.deadline, _ = ctx.Deadline()
	waiters = append(waiters, w)
	changes++
	if !polling {
		polling = true
		go pollForAll()
	}
	var err error
	select {
	case <-w.done:
		if w.expired {
			err = context.DeadlineExceeded
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
		if at := slices.Index(waiters, w); at >= 0 {
			waiters = slices.Delete(waiters, at, at+1)
			changes++
		}
	}
	p.Drop()
	return err
}

func pollForAll() {
	quietSince := time.Now()
	var polled time.Time
	for {
		seen := changes
		runtime.Gosched()
		if len(waiters) == 0 {
			polling = false
			return
		}
		now := time.Now()
		if changes != seen {
			quietSince = now
			continue // Who came may not be the last.
		}
		timeout := min(max(now.Sub(quietSince)/4, shortestPoll), longestPoll)
		for _, w := range waiters {
			if !w.deadline.IsZero() {
				timeout = min(timeout, max(w.deadline.Sub(now), 0))
			}
		}
		if canOthersRun() {
			if now.Sub(polled) < busyPoll {
				continue
			}
			timeout = 0
		}
		polled = now
		if pollOnce(timeout) {
			quietSince = time.Now()
		}
	}
}

var runnable = []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}

// canOthersRun reports whether there are goroutines that wait for nothing. Before Go 1.26 it does
// not know and says no; such goroutines then run again when the poll is over.
func canOthersRun() bool {
	metrics.Read(runnable)
	return runnable[0].Value.Kind() == metrics.KindUint64 && runnable[0].Value.Uint64() > 0
}

var handles []int32

// pollOnce wakes those whose pollables are ready or whose deadline is past, and reports whether
// there are any.
func pollOnce(timeout time.Duration) bool {
	timer := clock.SubscribeDuration(uint64(timeout))
	const each = unsafe.Sizeof(handles[0])
	abi.Import((uintptr(len(waiters))+100)*each, func() {
		// Growing may let others run, who come and go.
		for cap(handles) <= len(waiters) {
			handles = make([]int32, 0, 2*len(waiters)+16)
		}
		pollWaiters(timer.Handle())
	})
	timer.Drop()
	return endWaits(time.Now())
}

// pollWaiters closes the channels of those who are ready. It allocates nothing and so lets nobody
// run: a handle that was dropped in the meantime would end the instance.
func pollWaiters(timer int32) {
	handles = handles[:0]
	for _, w := range waiters {
		handles = append(handles, w.pollable.Handle())
	}
	handles = append(handles, timer)
	importPoll(unsafe.Pointer(unsafe.SliceData(handles)), uint32(len(handles)), unsafe.Pointer(&ready))
	for _, index := range unsafe.Slice((*uint32)(unsafe.Add(unsafe.Pointer(nil), ready.Ptr)), ready.Len) {
		if int(index) < len(waiters) {
			close(waiters[index].done)
		}
	}
}

// ready is the list that poll returned.
var ready abi.List

// The binding that is generated allocates between the list of handles and the call.
//
//go:wasmimport wasi:io/poll@0.2.12 poll
//go:noescape
func importPoll(handles unsafe.Pointer, length uint32, ready unsafe.Pointer)

func endWaits(now time.Time) bool {
	before := len(waiters)
	waiters = slices.DeleteFunc(waiters, func(w *waiter) bool {
		select {
		case <-w.done:
			return true
		default:
		}
		if w.deadline.IsZero() || now.Before(w.deadline) {
			return false
		}
		w.expired = true
		close(w.done)
		return true
	})
	changes += uint(before - len(waiters))
	return len(waiters) < before
}
