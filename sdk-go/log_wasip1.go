package tidegate

import "os"

// The author's packages are initialised after this one, so what they set stays.
func init() { setUpLog(os.Stderr, logLevel(os.Getenv)) }
