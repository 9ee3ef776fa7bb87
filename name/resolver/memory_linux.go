package resolver

import (
	"runtime"
	"syscall"
)

// offHeap returns zeroed memory that lives as long as owner, and that the garbage collector neither
// looks at nor reckons with: a cache on the heap has it leave as much garbage lying about again. What
// was never written to takes no room.
func offHeap[T any](owner *T, n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	runtime.AddCleanup(owner, func(b []byte) { syscall.Munmap(b) }, b) //nolint:errcheck // it is mapped
	return b
}
