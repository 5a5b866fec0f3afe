package tidegate

import (
	"io"
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
type logLines struct{ out io.Writer }

func (l logLines) Write(entry []byte) (int, error) {
	lines := entry
	if level, text, ok := cutLevel(string(entry)); ok {
		lines = nil
		for line := range strings.Lines(text) {
			lines = append(lines, "level="+level+" "+line...)
		}
	}
	if _, err := l.out.Write(lines); err != nil {
		return 0, err
	}
	return len(entry), nil
}

// cutLevel splits an entry behind its level, which it gives one of the names that the runtime knows.
func cutLevel(entry string) (name, text string, ok bool) {
	word, text, _ := strings.Cut(entry, " ")
	var level slog.Level
	if word != strings.ToUpper(word) || level.UnmarshalText([]byte(word)) != nil {
		return "", "", false
	}
	switch {
	case level < slog.LevelDebug:
		name = "TRACE"
	case level < slog.LevelInfo:
		name = "DEBUG"
	case level < slog.LevelWarn:
		name = "INFO"
	case level < slog.LevelError:
		name = "WARN"
	default:
		name = "ERROR"
	}
	return name, text, true
}
