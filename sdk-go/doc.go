// Package tidegate is for writing Tidegate functions in Go.
//
// A function takes records of a Kafka topic and answers with messages. It is an ordinary Go
// function that is registered from init:
//
//	package main
//
//	import (
//		"bytes"
//
//		"github.com/tidegate/tidegate/sdk-go"
//	)
//
//	func init() { tidegate.Handle(shout) }
//
//	func main() {}
//
//	// shout answers a record with itself, the letters a to z of its value in upper case. All other
//	// bytes stay, and so does a record without a value.
//	func shout(record tidegate.Record) (tidegate.Messages, error) {
//		value := bytes.Clone(record.Value())
//		for i, b := range value {
//			if 'a' <= b && b <= 'z' {
//				value[i] = b - 'a' + 'A'
//			}
//		}
//		return tidegate.One(record.WithValue(value)), nil
//	}
//
// The main function is never called in a component, but Go asks for one. The stock Go toolchain
// compiles it:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags="-s -w" .
//
// which is what "tidegate build" runs before it makes a component of the result. One package main
// holds one function.
//
// # What a function takes
//
// A [Record] at a time, with [Handle]: what suits nearly every function. Records of different keys
// are handled side by side by several instances, those of one key one after another.
//
// Typed JSON, with [HandleJSON]: the value is read into a type of yours, and what you return
// becomes the value of the message. A value that is not such JSON is rejected.
//
// A [Batch], with [HandleBatch], where many records together are cheaper than each alone. It says
// what of a batch runs again when some of it fails.
//
// # What a function returns
//
// [None], [One] or [Many] messages. [Record.Forward] and its kin make a message that is the record
// over again but for what you set; what you do not set is not even copied.
//
// A nil key or value is null, in records and in messages, and null is not the same as empty: as a
// value it is a tombstone.
//
// # Failures
//
// An error fails its record with a retry, and [Reject] makes a reject of it: see [Error], and [Batch]
// for what else runs again then. A panic fails its record with a retry too, with its message and
// stack as the reason, and the records behind it go on.
//
// What Go cannot recover from ends the instance: a panic in a goroutine of your own, os.Exit,
// runtime.Goexit, a deadlock, a stack that overflows, the end of the memory, the function's
// deadline. A new instance takes over, and the record at fault is found and retried. Since that
// costs an instance and some calls, fail with an error where you can foresee it.
//
// # Logs
//
// What is written to standard output and standard error goes to the log of the runtime, each line
// with the trigger, the revision and the records it belongs to. Since a call may have many records,
// name the one you mean:
//
//	slog.Warn("late", "record", r)
//
// Lines of [log/slog] are logged at their level, without anything to set up; the others, as those of
// fmt and log, at INFO. From which level on is the operator's to say, with "tidegate run --log
// info,function=debug": the function is told, and slog writes nothing that nobody would read. The
// variable LOG_LEVEL in its environment leaves more out: off, error, warn, info, debug or trace. A
// handler of your own has its lines logged at their level if they begin with it, as in "level=WARN
// late". Who passes it to slog.SetDefault calls slog.SetLogLoggerLevel(slog.LevelInfo) as well: by that
// level it gets the lines of package log, and it is lower when the operator asked for debug.
//
// # Configuration, state
//
// Settings and secrets are environment variables, to be read with os.Getenv, in init if you like.
// There are no arguments, no sockets, and no files but those in folders that the manifest gives.
//
// An instance handles one call after another, so a package variable keeps what is dear to set up.
// It is a cache and no more: instances come and go, and the records of a key need not meet the same
// one.
//
// # Go in an instance
//
// An instance has one thread. Goroutines, channels, timers and time.Sleep work within a call, but a
// goroutine that spins keeps all others from running. Between two calls the instance stands still:
// a goroutine that was left behind is frozen, and runs on only while a later call waits for
// something; a timer that comes due fires then at the earliest. So end in a call what you began in
// it, and do not rely on work in the background.
//
// The garbage collector runs within calls too. The runtime sets GOMEMLIMIT to four fifths of the
// function's memory limit, so that the collector runs before the limit refuses. Records are not on
// Go's heap, and a record that is forwarded allocates nothing.
//
// # HTTP
//
// A function has no sockets; it asks by HTTP through the runtime, which refuses every host that the
// manifest does not allow (allow-hosts). Package
// [github.com/tidegate/tidegate/sdk-go/fetch] is a small client:
//
//	response, err := fetch.Get(ctx, "https://prices.example.com/7")
//
// Package [github.com/tidegate/tidegate/sdk-go/wasihttp] makes net/http work, and whatever stands on
// it. Imported for its effect, it sets http.DefaultTransport:
//
//	import _ "github.com/tidegate/tidegate/sdk-go/wasihttp"
//
// A function is given no [context.Context], so pass context.Background, or one of yours with less time.
// The runtime ends requests shortly before the deadline of the call, so that a function can still say
// what it waited for in vain.
//
// A component without HTTP takes about 3 MiB, with fetch a little more, with net/http over 10 MiB.
// Requests of several goroutines are under way at once, so a function of a batch may ask for all of
// its records together, or for 500 of them at a time: package fetch names the limits.
//
// # Tests
//
// Functions are tested on your own machine with go test: see
// [github.com/tidegate/tidegate/sdk-go/tidegatetest].
package tidegate
