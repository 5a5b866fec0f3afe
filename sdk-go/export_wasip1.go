//go:build wasip1

package tidegate

import (
	"unsafe"

	"github.com/tidegate/tidegate/sdk-go/internal/abi"
)

// current is the one call that is under way: the runtime never calls an instance again before the
// call is done.
var current call

// The canonical ABI of tidegate:function/handler@0.1.0#handle. The name is that of the contract,
// version included: it is how the runtime finds out which contract a module was built for.
//
//go:wasmexport tidegate:function/handler@0.1.0#handle
func exportHandle(batch unsafe.Pointer) unsafe.Pointer {
	abi.Enter()
	returned := false
	defer func() {
		if !returned {
			// The goroutine that was to answer is about to end, so the call can never return. A
			// panic here ends the instance at once, and the runtime finds the record at fault.
			panic("tidegate: the function called runtime.Goexit, which ends the call without an outcome")
		}
	}()
	outcome := abi.WriteOutcome(current.run(registered, abi.ReadBatch((*abi.Batch)(batch))))
	returned = true
	abi.Leave()
	return unsafe.Pointer(outcome)
}

//go:wasmexport cabi_post_tidegate:function/handler@0.1.0#handle
func exportPostReturn(unsafe.Pointer) {
	abi.FreeBatch()
}
