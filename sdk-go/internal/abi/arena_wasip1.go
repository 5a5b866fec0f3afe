//go:build wasip1

package abi

import (
	"os"
	"runtime"
	"strconv"
	"unsafe"
)

// The arenas lie in the data segment: they add nothing to the component, the collector does not
// scan them, and pages that are never touched cost no memory.
const (
	// The WASI preview 1 adapter asks for 64 KiB of state and 64 KiB of stack before the Go
	// runtime is up, and keeps them as long as the instance lives.
	bootBytes = 192 << 10
	// The largest batch, unless TIDEGATE_BATCH_BYTES says more.
	batchBytes = 2 << 20
	// What imports return during one call of the handler.
	resultBytes = 256 << 10
	// TIDEGATE_BATCH_BYTES counts what lies in the lists. This much is added for the block of
	// parameters and for the gaps in front of lists of 8-byte numbers.
	slackBytes = 1 << 10
)

var (
	boot    [bootBytes / 8]uint64
	batch   [batchBytes / 8]uint64
	results [resultBytes / 8]uint64

	bootArena    = arena{base: unsafe.Pointer(&boot), size: bootBytes}
	batchArena   = arena{base: unsafe.Pointer(&batch), size: batchBytes}
	resultsArena = arena{base: unsafe.Pointer(&results), size: resultBytes}

	booted  bool // the Go runtime is up
	entered bool // the handler has run, or runs
	running bool // the handler runs
	imports int  // imports of which the results are still read
)

// arena gives out memory front to back, and takes it back all at once.
type arena struct {
	base   unsafe.Pointer
	size   uintptr
	offset uintptr
}

//go:nosplit
func (a *arena) alloc(size, align uintptr) unsafe.Pointer {
	base := uintptr(a.base)
	offset := (base+a.offset+align-1)&^(align-1) - base
	if offset+size > a.size {
		return nil
	}
	a.offset = offset + size
	return unsafe.Add(a.base, offset)
}

func (a *arena) hasRoom(bytes uintptr) bool { return a.size-a.offset >= bytes }

func init() {
	booted = true
	n, err := strconv.Atoi(os.Getenv("TIDEGATE_BATCH_BYTES"))
	if err != nil || n <= batchBytes-slackBytes {
		return
	}
	words := make([]uint64, (n+slackBytes+7)/8)
	batchArena = arena{base: unsafe.Pointer(unsafe.SliceData(words)), size: uintptr(len(words)) * 8}
}

// Enter says that the handler begins: what the runtime allocates from now on is the result of an
// import, and what earlier calls left there is gone.
func Enter() {
	entered, running = true, true
	if imports == 0 {
		resultsArena.offset = 0
	}
}

// Leave says that the handler ended: what the runtime allocates from now on is the next batch.
func Leave() {
	running = false
}

// FreeBatch takes back what the runtime wrote for a call. It runs in post-return, where Go's heap
// must not be touched.
func FreeBatch() {
	batchArena.offset = 0
}

// Import calls an import that returns lists of at most so many bytes, and reads them: they are gone
// when call returns, so call has to copy what is to stay.
//
// Several goroutines may be in here at once, though there is one thread: an allocation of one lets
// others run, if the collector wants it so. The results are gone when the last of them has read its
// own; until then there has to be room for all, or the next one waits.
//
// Before the first call of the handler, which is in an init function, they lie where the first
// batch will be, because only imports allocate then and the arena of results is for during a call.
func Import(bytes uintptr, call func()) {
	for imports > 0 && !importArena().hasRoom(bytes) {
		runtime.Gosched()
	}
	imports++
	defer func() {
		imports--
		if imports == 0 {
			importArena().offset = 0
		}
	}()
	call()
}

func importArena() *arena {
	if entered {
		return &resultsArena
	}
	return &batchArena
}

// realloc is how the runtime gets memory in the function. It must not touch Go's heap: see the
// package's comment. An allocation of no bytes gets an address like any other.
//
// Its panics end the instance. In a component their text is not seen, because the function may not
// write to standard error while the runtime lowers into it; the trap's backtrace says as much.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil {
		// Only text that is transcoded grows while it is written, and ours is UTF-8 on both sides.
		panic("tidegate: cabi_realloc of a block that is there already")
	}
	a := &batchArena
	switch {
	case !booted:
		a = &bootArena
	case running:
		a = &resultsArena
	}
	block := a.alloc(size, align)
	if block == nil {
		switch a {
		case &bootArena:
			panic("tidegate: more memory asked for before Go's start than there is")
		case &resultsArena:
			panic("tidegate: an import returned more than 256 KiB")
		}
		panic("tidegate: the batch is larger than TIDEGATE_BATCH_BYTES says")
	}
	return block
}
