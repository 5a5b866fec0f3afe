package tidegate

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// The runtime cuts a reason after so many bytes.
	reasonBytes = 1000
	// What a panic says may take so many of them, so that there is room for the stack.
	panicBytes = 500
	// Deep enough for whatever fits.
	stackFrames = 64
	// What the names of this package's functions begin with.
	ourPackage = "github.com/tidegate/tidegate/sdk-go."
)

// panicReason says what a panic was, and where: the frames of the author, innermost first, as many
// as fit. It is to be called by the deferred function that recovered.
func panicReason(value any) string {
	var reason strings.Builder
	reason.WriteString(shorten("panic: "+fmt.Sprint(value), panicBytes))
	counters := make([]uintptr, stackFrames)
	frames := runtime.CallersFrames(counters[:runtime.Callers(1, counters)])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if frame.Function == ourPackage+"(*walk).run" || frame.Function == ourPackage+"handleBatch" {
			break // What called the author's function tells the author nothing.
		}
		if isOurs(frame.Function) {
			continue
		}
		line := "\n" + frame.Function + "\n\t" + frame.File + ":" + strconv.Itoa(frame.Line)
		if reason.Len()+len(line) > reasonBytes {
			break
		}
		reason.WriteString(line)
	}
	return reason.String()
}

// isOurs says of a function whether it is of this package or of Go's runtime, which tell an author
// nothing.
func isOurs(function string) bool {
	return function == "" || strings.HasPrefix(function, "runtime.") ||
		strings.HasPrefix(function, ourPackage)
}

// shorten cuts a text to a number of bytes, at the end of a character.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const dots = "…"
	end := limit - len(dots)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + dots
}
