package check

import "syscall"

// diskSpace returns the room that is left for an ordinary user.
func diskSpace(path string) (Space, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return Space{}, err
	}
	size := uint64(s.Bsize) //nolint:gosec,unconvert // of another type on other systems
	return Space{
		Free: uint64(s.Bavail) * size, Total: uint64(s.Blocks) * size, //nolint:unconvert // likewise
		FreeFiles: uint64(s.Ffree), Files: uint64(s.Files), //nolint:unconvert // likewise
	}, nil
}
