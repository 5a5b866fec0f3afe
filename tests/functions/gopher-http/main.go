// A function that asks by HTTP what the value of its record says, and answers with what came of it.
//
// A value is WITH COMMAND URL ARGUMENT. WITH is net, for net/http, or fetch, for package fetch.
//
//	get URL          GET
//	post URL BYTES   POST of so many bytes
//	stream URL BYTES POST of so many bytes whose number is not told
//	broken URL       POST of a body that fails
//	follow URL       GET, and GET again of where a redirect points
//	within URL MS    GET, all of it within this time
//	cancel URL MS    GET, cancelled by a timer after this time
//	close URL MS     GET, the body closed by another goroutine after this time
//	fan URL N        N times GET at once
//	crowd URL N      N times POST at once, the body never finished, each within three seconds
//	beside URL MS    GET, and how long a sleep of this time took beside it
//	many URL N       N times GET, one after another, each within a minute, and how much more memory is
//	                 in use after their second half
//	headed URL BYTES GET, with a header of so many bytes
//	lose URL N       N times GET, the body never closed
//	trailer URL      GET, and the trailer X-Sum
//	early            what a GET in an init function came to
//
// The answer is STATUS BYTES START, the number of bytes of the body and how it starts; or error TEXT;
// or cut BYTES TEXT if the body ended in an error after so many bytes.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

func init() {
	log.Print("by package log")
	if url := os.Getenv("EARLY"); url != "" {
		early = get(context.Background(), clients["net"], url)
	}
	tidegate.Handle(ask)
}

func main() {}

var early string

// A client asks, and gives the status, a header of the answer and the body.
type client func(ctx context.Context, method, url string, body io.Reader) (*answer, error)

type answer struct {
	status  int
	header  func(name string) string
	trailer func(name string) string
	body    io.ReadCloser
}

// long is the value of a header of each request, unless it is empty.
var long string

var clients = map[string]client{"net": withNet, "fetch": withFetch}

func ask(record tidegate.Record) (tidegate.Messages, error) {
	slog.Debug("asked", "record", record)
	words := append(strings.Fields(string(record.Value())), "", "", "", "")
	with, command, url := clients[words[0]], words[1], words[2]
	number, _ := strconv.Atoi(words[3])
	if with == nil {
		slog.Error("no such\nclient", "client", words[0])
		return tidegate.One(record.WithValue([]byte("no such client"))), nil
	}
	return tidegate.One(record.WithValue([]byte(obey(with, command, url, number)))), nil
}

func obey(with client, command, url string, number int) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pause := time.Duration(number) * time.Millisecond
	switch command {
	case "get":
		return get(ctx, with, url)
	case "post":
		return read(with(ctx, "POST", url, bytes.NewReader(bytes.Repeat([]byte("x"), number))))
	case "stream":
		return read(with(ctx, "POST", url, io.LimitReader(endless{}, int64(number))))
	case "broken":
		return read(with(ctx, "POST", url, io.MultiReader(strings.NewReader("x"), broken{})))
	case "follow":
		return follow(ctx, with, url)
	case "within":
		return within(ctx, with, url, pause)
	case "cancel":
		time.AfterFunc(pause, cancel)
		return get(ctx, with, url)
	case "close":
		return closed(ctx, with, url, pause)
	case "fan":
		return fanOut(number, func() string { return get(ctx, with, url) })
	case "crowd":
		return fanOut(number, func() string {
			body, _ := io.Pipe()
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			return read(with(ctx, "POST", url, body))
		})
	case "beside":
		return beside(ctx, with, url, pause)
	case "many":
		return many(ctx, with, url, number)
	case "headed":
		long = strings.Repeat("x", number)
		defer func() { long = "" }()
		return get(ctx, with, url)
	case "lose":
		return lose(ctx, with, url, number)
	case "trailer":
		return trailer(ctx, with, url)
	case "early":
		return early
	}
	return "no such command"
}

func within(ctx context.Context, with client, url string, limit time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return get(ctx, with, url)
}

func get(ctx context.Context, with client, url string) string {
	return read(with(ctx, "GET", url, nil))
}

func read(a *answer, err error) string {
	if err != nil {
		return "error " + err.Error()
	}
	defer a.body.Close()
	body, err := io.ReadAll(a.body)
	if err != nil {
		return fmt.Sprintf("cut %d %v", len(body), err)
	}
	return fmt.Sprintf("%d %d %s", a.status, len(body), body[:min(len(body), 40)])
}

func follow(ctx context.Context, with client, url string) string {
	a, err := with(ctx, "GET", url, nil)
	if err != nil {
		return "error " + err.Error()
	}
	if to := a.header("Location"); to != "" {
		a.body.Close()
		return get(ctx, with, to)
	}
	return read(a, nil)
}

func closed(ctx context.Context, with client, url string, pause time.Duration) string {
	a, err := with(ctx, "GET", url, nil)
	if err != nil {
		return "error " + err.Error()
	}
	go func() {
		time.Sleep(pause)
		a.body.Close()
	}()
	return read(a, nil)
}

func fanOut(number int, ask func() string) string {
	answers := make([]string, number)
	var group sync.WaitGroup
	for n := range answers {
		group.Add(1)
		go func() {
			defer group.Done()
			answers[n] = ask()
		}()
	}
	group.Wait()
	for _, answer := range answers {
		if answer != answers[0] {
			return fmt.Sprintf("%q and %q", answers[0], answer)
		}
	}
	return fmt.Sprintf("%d times %s", number, answers[0])
}

func beside(ctx context.Context, with client, url string, pause time.Duration) string {
	slept := make(chan time.Duration, 1)
	go func() {
		begin := time.Now()
		time.Sleep(pause)
		slept <- time.Since(begin)
	}()
	ctx, cancel := context.WithCancel(ctx)
	go get(ctx, with, url)
	defer cancel()
	return fmt.Sprint((<-slept).Milliseconds())
}

func many(ctx context.Context, with client, url string, number int) string {
	var half int64
	for n := range number {
		if n == number/2 {
			half = inUse()
		}
		if answer := within(ctx, with, url, time.Minute); !strings.HasPrefix(answer, "200 ") {
			return fmt.Sprintf("at %d: %s", n, answer)
		}
	}
	return fmt.Sprintf("%d %d KiB", number, (inUse()-half)>>10)
}

// inUse is what the collector finds in use. What Go has taken of the memory goes up in steps, and when
// is the collector's to say.
func inUse() int64 {
	// What has a finalizer goes with the second.
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func lose(ctx context.Context, with client, url string, number int) string {
	for n := range number {
		a, err := with(ctx, "GET", url, nil)
		if err != nil {
			return fmt.Sprintf("at %d: %v", n, err)
		}
		if a.status != 200 {
			return fmt.Sprintf("at %d: status %d", n, a.status)
		}
		if n%10 == 9 {
			runtime.GC()
			time.Sleep(time.Millisecond) // Lets the collector's goroutine drop what was lost.
		}
	}
	return fmt.Sprintf("%d lost", number)
}

func trailer(ctx context.Context, with client, url string) string {
	a, err := with(ctx, "GET", url, nil)
	if err != nil {
		return "error " + err.Error()
	}
	text := read(a, nil)
	return text + " " + a.trailer("X-Sum")
}

// endless is a body of x without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("told to break") }
