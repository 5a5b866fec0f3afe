package tidegate

import (
	"sync"

	"github.com/tidegate/tidegate/sdk-go/internal/wire"
)

// registering keeps tests that run side by side from registering over each other.
var registering sync.Mutex

func init() {
	wire.Run = func(register func(), batch wire.Batch) *wire.Outcome {
		return new(call).run(registeredBy(register), batch)
	}
}

// registeredBy returns what register registers, and puts back what was registered before. Without
// register it returns that.
func registeredBy(register func()) function {
	registering.Lock()
	defer registering.Unlock()
	before := registered
	if register == nil {
		return before
	}
	defer func() { registered = before }()
	registered = nil
	register()
	return registered
}
