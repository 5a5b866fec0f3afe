package tidegate

import (
	"log"
	"log/slog"
	"os"
)

// The author's packages are initialised after this one, so what they set stays.
func init() {
	log.SetOutput(logLines{os.Stderr})
	log.SetFlags(0) // The runtime knows the time.
	slog.SetLogLoggerLevel(logLevel(os.Getenv))
}
