package tidegate

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"math"
	"testing"
)

// logged returns what is written to the log, from this level on, as in a component.
func logged(level slog.Level, write func()) string {
	var out bytes.Buffer
	flags, before := log.Flags(), log.Writer()
	defer func() {
		log.SetFlags(flags)
		log.SetOutput(before)
	}()
	defer slog.SetLogLoggerLevel(slog.SetLogLoggerLevel(slog.LevelInfo))
	setUpLog(&out, level)
	write()
	return out.String()
}

func TestALineBeginsWithItsLevel(t *testing.T) {
	for _, test := range []struct {
		want  string
		write func()
	}{
		{"level=WARN late\n", func() { slog.Warn("late") }},
		{"level=ERROR no price of tea item=tea\n", func() { slog.Error("no price of tea", "item", "tea") }},
		{"level=INFO \n", func() { slog.Info("") }},
		{"level=INFO g.b=2\n", func() { slog.Default().WithGroup("g").Info("g.b=2") }},
		{"level=INFO late a=1 g.b=2\n", func() { slog.With("a", 1).WithGroup("g").Info("late", "b", 2) }},
		{"level=ERROR two\nlevel=ERROR lines error=\"no\\nway\"\n", func() {
			slog.Error("two\nlines", "error", errors.New("no\nway"))
		}},
		{"level=INFO late record.topic=orders record.partition=3 record.offset=42\n", func() {
			c := &columns{}
			c.Topic, c.Partition, c.Offsets = "orders", 3, []int64{42}
			slog.Info("late", "record", Record{columns: c})
		}},
		{"level=WARN odd\n", func() { slog.Log(context.Background(), slog.LevelWarn+2, "odd") }},
		{"level=TRACE fine\n", func() { slog.Log(context.Background(), levelTrace, "fine") }},
		{"level=DEBUG by package log\n", func() { log.Print("DEBUG by package log") }},
		{"error by package log\nno level\n", func() { log.Print("error by package log\nno level") }},
		{"ERRORS\n", func() { log.Println("ERRORS") }},
		{"\n", func() { log.Println() }},
	} {
		if got := logged(levelTrace, test.write); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestTheLevelIsTheFunctionsOrElseTheRuntimes(t *testing.T) {
	for _, test := range []struct {
		own, runtime string
		want         slog.Level
	}{
		{"", "", slog.LevelInfo},
		{"", "debug", slog.LevelDebug},
		{"warn", "debug", slog.LevelWarn},
		{"DEBUG", "info", slog.LevelDebug},
		{"loud", "error", slog.LevelError},
		{"", "trace", levelTrace},
		{"", "off", math.MaxInt},
	} {
		getenv := func(name string) string {
			return map[string]string{"LOG_LEVEL": test.own, "TIDEGATE_LOG": test.runtime}[name]
		}
		if got := logLevel(getenv); got != test.want {
			t.Errorf("%q, %q: %v, want %v", test.own, test.runtime, got, test.want)
		}
	}
	got := logged(slog.LevelWarn, func() {
		slog.Info("hidden")
		slog.Warn("seen")
	})
	if got != "level=WARN seen\n" {
		t.Errorf("%q", got)
	}
}
