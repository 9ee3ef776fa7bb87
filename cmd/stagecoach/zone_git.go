package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"stagecoach/name/authority"
)

// A push is one line of what git tells its hooks (githooks(5), pre-receive).
type push struct {
	old, new, ref string
}

// readPushes returns what is pushed to branches, without those that are removed.
func readPushes(in io.Reader) ([]push, error) {
	var out []push
	s := bufio.NewScanner(in)
	for s.Scan() {
		words := strings.Fields(s.Text())
		if len(words) != 3 || !isObjectID(words[0]) || !isObjectID(words[1]) {
			return nil, errors.New("standard input is not what git gives to its hooks")
		}
		p := push{words[0], words[1], words[2]}
		if strings.HasPrefix(p.ref, "refs/heads/") && !isZeroID(p.new) {
			out = append(out, p)
		}
	}
	return out, s.Err()
}

func isObjectID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

func isZeroID(s string) bool { return strings.Trim(s, "0") == "" }

// files reads the files of a commit by the git program, which finds what is pushed and not yet
// taken. Folders and hidden files are no zones.
func files(ctx context.Context, commit string) (map[string][]byte, error) {
	out := map[string][]byte{}
	if isZeroID(commit) {
		return out, nil
	}
	list, err := git(ctx, "ls-tree", "-z", "-l", commit)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for line := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		about, name, _ := strings.Cut(line, "\t")
		words := strings.Fields(about) // mode, kind, id, size
		if len(words) != 4 || words[1] != "blob" || strings.HasPrefix(name, ".") {
			continue
		}
		if words[0] == "120000" {
			return nil, fmt.Errorf("%q is a link: a zone is a plain file", name)
		}
		size, err := strconv.ParseInt(words[3], 10, 64)
		if err != nil {
			return nil, err
		}
		if total += size; size > zoneLimits.FileSize || total > zoneLimits.Total {
			return nil, fmt.Errorf("%q: the files are larger than the primary takes", name)
		}
		if out[name], err = git(ctx, "cat-file", "blob", words[2]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// checkPushed checks the files that a push changes.
func checkPushed(ctx context.Context, in io.Reader, w io.Writer) error {
	pushes, err := readPushes(in)
	if err != nil {
		return err
	}
	var problems []authority.Problem
	for _, p := range pushes {
		before, err := files(ctx, p.old)
		if err != nil {
			return err
		}
		now, err := files(ctx, p.new)
		if err != nil {
			return err
		}
		problems = append(problems, authority.CheckFiles(now, before)...)
	}
	return printProblems(w, problems)
}
