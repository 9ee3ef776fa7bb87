package teach

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/spam"
)

// The test binary is also the program that is killed: it teaches one mail after another, from the
// number in this variable on, and prints each number once Teach has returned.
const childVariable = "STAGECOACH_TEACH_CHILD"

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childVariable); ok {
		dir, from, _ := strings.Cut(args, "|")
		fmt.Fprintln(os.Stderr, beKilled(dir, from))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func beKilled(dir, from string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	model, err := spam.Default()
	if err != nil {
		return err
	}
	j := &spam.Judge{Model: model}
	n, err := strconv.Atoi(from)
	for ; err == nil; n++ {
		if err = s.Teach("ann@x", j, message(n, fmt.Sprint(minutes, n)), n%2 == 0); err == nil {
			err = s.Wrote("ann@x", address(n))
		}
		if err == nil {
			fmt.Println(n)
		}
	}
	return err
}

func address(n int) mail.Address { return mail.MustParseAddress(fmt.Sprintf("a%d@x.example", n)) }

// A process that is killed has kept all that it said it had.
func TestKill(t *testing.T) {
	dir, next, j := t.TempDir(), 0, newJudge(t)
	var said []int // numbers that were printed
	for range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", childVariable, dir, next))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		last, started := next-1, time.Time{}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if last, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			said = append(said, last)
			if started.IsZero() {
				started = time.Now()
				time.AfterFunc(time.Duration(20+37*next%60)*time.Millisecond, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait() //nolint:errcheck // it was killed
		if last < next {
			t.Fatal("nothing was taught")
		}
		s := open(t, dir)
		lessons, err := s.Lessons("ann@x")
		if err != nil {
			t.Fatal(err)
		}
		taught := map[[16]byte]bool{}
		for _, l := range lessons {
			taught[l.Digest] = true
		}
		for _, n := range said[max(0, len(said)-MaxLessons/2):] {
			id, err := j.Digest(message(n, fmt.Sprint(minutes, n)))
			if err != nil || !taught[id] || !s.Knows("ann@x", address(n)) {
				t.Fatalf("lesson %d of %d is gone: %v", n, last, err)
			}
		}
		next = last + 2 // the one after the last may be there
	}
}
