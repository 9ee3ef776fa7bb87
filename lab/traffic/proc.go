package traffic

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process and its descendants have used.
type Usage struct {
	CPU       time.Duration // user and system, also of children that ended
	RSS       int64         // octets resident, of all of them together: shared pages count in each
	PSS       int64         // octets resident, shared pages divided among their users; 0 where not readable
	Processes int
}

// clockTick is USER_HZ, in which Linux reports CPU time; it is 100 on every architecture
// that Go runs on.
const clockTick = 10 * time.Millisecond

// UsageOf reads the usage of a process and all of its descendants from /proc.
func UsageOf(pid int) (Usage, error) {
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		return Usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	children, err := readChildren()
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		u.add(todo[0])
		todo = append(todo, children[todo[0]]...)
	}
	return u, nil
}

// readChildren returns the children of each process that has some.
func readChildren() (map[int][]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, p := range paths {
		f, err := statFields(p)
		if err != nil {
			continue // it ended while we looked
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err != nil {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], pid)
	}
	return children, nil
}

// statFields returns the fields of /proc/PID/stat from the third on (proc(5)): the second,
// the name, may hold anything.
func statFields(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 {
		return nil, fmt.Errorf("%s: too short", path)
	}
	return f, nil
}

func (u *Usage) add(pid int) {
	f, err := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return
	}
	u.Processes++
	for _, ticks := range f[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(ticks, 10, 64)
		u.CPU += time.Duration(n) * clockTick
	}
	u.RSS += kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
	u.PSS += kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
}

// kilobytes returns the octets of a line as "VmRSS:  123 kB", 0 when there is none.
func kilobytes(path, key string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				return 0
			}
			n, _ := strconv.ParseInt(f[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
