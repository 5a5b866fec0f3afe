package tidegate

import (
	"io"
	"log"
	"log/slog"
	"math"
	"strings"
)

// levelTrace is below debug, where many have a level of their own.
const levelTrace = slog.LevelDebug - 4

// logLevel returns the level from which on log/slog writes: what LOG_LEVEL says, or else the runtime,
// which drops what is below that anyway.
func logLevel(getenv func(string) string) slog.Level {
	for _, variable := range []string{"LOG_LEVEL", "TIDEGATE_LOG"} {
		var level slog.Level
		switch text := strings.ToLower(getenv(variable)); {
		case text == "trace":
			return levelTrace
		case text == "off":
			return math.MaxInt
		case level.UnmarshalText([]byte(text)) == nil:
			return level
		}
	}
	return slog.LevelInfo
}

// setUpLog makes packages log and log/slog write there, from this level on.
func setUpLog(out io.Writer, least slog.Level) {
	log.SetOutput(logLines{out, least})
	log.SetFlags(0) // The runtime knows the time.
	// It is also the level that the lines of package log get, should the author set a handler: no
	// higher than INFO, or they would be more than they are.
	slog.SetLogLoggerLevel(min(least, slog.LevelInfo))
}

// logLines is the output of package log, and so of log/slog, whose default handler writes there:
//
//	WARN no price item=tea
//
// It writes the level in the form that the runtime knows, before each line if there are several:
//
//	level=WARN no price item=tea
//
// What begins with no level stays as it is. To set a handler of its own instead would make each
// component 600 KB larger, whether it logs or not.
//
// Entries below least are left out.
type logLines struct {
	out   io.Writer
	least slog.Level
}

func (l logLines) Write(entry []byte) (int, error) {
	lines := entry
	if level, text, ok := cutLevel(string(entry)); ok {
		lines = nil
		if level < l.least {
			return len(entry), nil
		}
		for line := range strings.Lines(text) {
			lines = append(lines, "level="+levelName(level)+" "+line...)
		}
	}
	if _, err := l.out.Write(lines); err != nil {
		return 0, err
	}
	return len(entry), nil
}

// cutLevel splits an entry behind its level.
func cutLevel(entry string) (level slog.Level, text string, ok bool) {
	word, text, _ := strings.Cut(entry, " ")
	if word != strings.ToUpper(word) || level.UnmarshalText([]byte(word)) != nil {
		return 0, "", false
	}
	return level, text, true
}

// levelName returns the name by which the runtime knows a level.
func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelDebug:
		return "TRACE"
	case level < slog.LevelInfo:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARN"
	}
	return "ERROR"
}
