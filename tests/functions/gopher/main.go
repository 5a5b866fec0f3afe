// A function that does what the value of its record says, however bad: the Go twin of hostile, with
// what only Go can do beside it.
//
// The value is command[:argument][;payload], for example many:3;x. What is not one of these commands
// is forwarded as it is, or rebuilt from its fields if the environment says REBUILD.
//
//	copy          forwarded as it is
//	ok;x          the value becomes done:x; key, headers and timestamp stay
//	drop          no message
//	many:N;x      N messages, x#0 to x#N-1
//	retry:N;x     a retry while the attempt is below N, then done:x
//	reject;why    a reject with that reason
//	trap:N;x      a panic up to attempt N, then done:x
//	fatal:N;x     a panic in another goroutine, which no one can recover from, up to attempt N
//	spin          never returns
//	bomb          takes memory until there is none
//	overflow      recurses until the stack ends
//	deadlock      waits for what never comes
//	exit:N        ends the process with status N
//	sleep:MS;x    sleeps that many milliseconds, then done:x
//	log:text      the text as a line on standard output and one on standard error; forwarded
//	slog:text     the text as a warning by log/slog that names the record; forwarded
//	env:NAME      the value becomes that of the environment variable; null when there is none
//	to:TOPIC;x    x to that topic
//	part:N;x      x to that partition
//	big:BYTES     a value of that many bytes, each x
//	random        the value becomes a random number
//	now           the value becomes the time, in milliseconds since 1970-01-01 UTC
//	litter:N      N texts that nobody keeps, and no message
//	memory        the value becomes what Go says of its memory and its collector, as JSON
//	leave         leaves a goroutine in the midst of its work, and a timer; the value becomes how
//	              far they are
//	left          waits for nothing until that timer is due; the value becomes how far they are
package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

func init() { tidegate.Handle(obey) }

func main() {}

func obey(record tidegate.Record) (tidegate.Messages, error) {
	head, payload, hasPayload := strings.Cut(string(record.Value()), ";")
	name, argument, hasArgument := strings.Cut(head, ":")
	number, err := strconv.Atoi(argument)
	hasNumber := hasArgument && err == nil && number >= 0
	attempt := int(record.Attempt())
	obeyed++

	switch {
	case name == "ok" && !hasArgument && hasPayload:
		return done(record, payload)
	case name == "drop" && !hasArgument && !hasPayload:
		return tidegate.None(), nil
	case name == "many" && hasNumber && hasPayload:
		messages := make([]tidegate.Message, number)
		for n := range messages {
			messages[n] = record.WithValue(fmt.Appendf(nil, "%s#%d", payload, n))
		}
		return tidegate.Many(messages...), nil
	case name == "retry" && hasNumber && hasPayload:
		if attempt < number {
			return tidegate.None(), tidegate.Retry(fmt.Errorf("attempt %d", attempt))
		}
		return done(record, payload)
	case name == "reject" && !hasArgument && hasPayload:
		return tidegate.None(), tidegate.Reject(errors.New(payload))
	case name == "trap" && hasNumber && hasPayload:
		if attempt <= number {
			panic(fmt.Sprintf("told to panic at attempt %d", attempt))
		}
		return done(record, payload)
	case name == "fatal" && hasNumber && hasPayload:
		if attempt <= number {
			go func() { panic("told to panic elsewhere") }()
			time.Sleep(time.Hour)
		}
		return done(record, payload)
	case name == "spin" && head == name && !hasPayload:
		for {
		}
	case name == "bomb" && head == name && !hasPayload:
		hoard()
	case name == "overflow" && head == name && !hasPayload:
		overflow(1)
	case name == "deadlock" && head == name && !hasPayload:
		<-make(chan int)
	case name == "exit" && hasNumber && !hasPayload:
		os.Exit(number)
	case name == "sleep" && hasNumber && hasPayload:
		time.Sleep(time.Duration(number) * time.Millisecond)
		return done(record, payload)
	case name == "log":
		text := strings.TrimPrefix(string(record.Value()), "log:")
		fmt.Println(text)
		fmt.Fprintln(os.Stderr, text)
	case name == "slog":
		slog.Warn(strings.TrimPrefix(string(record.Value()), "slog:"), "record", record)
	case name == "env" && hasArgument && !hasPayload:
		value, found := os.LookupEnv(argument)
		if !found {
			return tidegate.One(record.Forward().WithoutValue()), nil
		}
		return tidegate.One(record.WithValue([]byte(value))), nil
	case name == "to" && hasArgument && hasPayload:
		return tidegate.One(record.WithValue([]byte(payload)).WithTopic(argument)), nil
	case name == "part" && hasNumber && hasPayload:
		return tidegate.One(record.WithValue([]byte(payload)).WithPartition(int32(number))), nil
	case name == "big" && hasNumber && !hasPayload:
		return tidegate.One(record.WithValue(bytes.Repeat([]byte("x"), number))), nil
	case name == "random" && head == name && !hasPayload:
		return tidegate.One(record.WithValue(random())), nil
	case name == "now" && head == name && !hasPayload:
		return tidegate.One(record.WithValue(fmt.Append(nil, time.Now().UnixMilli()))), nil
	case name == "litter" && hasNumber && !hasPayload:
		litter(number)
		return tidegate.None(), nil
	case name == "memory" && head == name && !hasPayload:
		return tidegate.One(record.WithValue(memory())), nil
	case name == "leave" && head == name && !hasPayload:
		leave()
		return tidegate.One(record.WithValue(left())), nil
	case name == "left" && head == name && !hasPayload:
		idle()
		return tidegate.One(record.WithValue(left())), nil
	}
	if rebuilds {
		return tidegate.One(rebuilt(record)), nil
	}
	return tidegate.One(record.Forward()), nil
}

// rebuilds says that what would be forwarded is taken apart and put together again, so that every
// field crosses in both directions.
var rebuilds = os.Getenv("REBUILD") != ""

func rebuilt(record tidegate.Record) tidegate.Message {
	message := tidegate.NewMessage(bytes.Clone(record.Value())).WithKey(bytes.Clone(record.Key())).WithoutHeaders()
	for header := range record.Headers() {
		message = message.AddHeader(string(header.Name), bytes.Clone(header.Value))
	}
	return message.WithTimestamp(record.Timestamp())
}

func done(record tidegate.Record, payload string) (tidegate.Messages, error) {
	return tidegate.One(record.WithValue([]byte("done:" + payload))), nil
}

var hoarded [][]byte

func hoard() {
	for {
		hoarded = append(hoarded, bytes.Repeat([]byte{1}, 1<<20))
	}
}

// overflow takes a kilobyte of stack each turn.
func overflow(depth int) int {
	var frame [128]int
	frame[depth%128] = depth
	return overflow(depth+1) + frame[(depth+1)%128]
}
