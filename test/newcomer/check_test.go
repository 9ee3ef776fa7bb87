package newcomer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"

	"stagecoach/lab"
	"stagecoach/tool/check"
)

// check looks at the domain on the server, as its operator does, with more flags. The world has no block
// lists, its own large receivers, and certificates that only it trusts.
func (w *scene) check(ctx context.Context, more ...string) (*check.Report, int, error) {
	args := append([]string{
		"check", domain, "--hints", w.Roots()[0].String(), "--config", "stagecoach.toml", "--json", "--skip", "blocklist", "--ca", "letsencrypt.org", "--ca-file", "roots.pem",
		"--receivers", lab.BigMailDomain + "," + lab.LookoutDomain, "--clock", "ntp:" + w.Roots()[0].String(),
	}, more...)
	if !slices.Contains(more, "--trust") {
		args = append(args, "--trust", "trust")
	}
	var out, trouble bytes.Buffer
	cmd := w.onServer(ctx, w.path("stagecoach"), args...)
	cmd.Stdout, cmd.Stderr = &out, &trouble
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, 0, err
	}
	var r check.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, 0, fmt.Errorf("%w: %s%s", err, out.String(), trouble.String())
	}
	return &r, cmd.ProcessState.ExitCode(), nil
}

// green waits until check finds nothing that is not right. The certificate takes the longest.
func (w *scene) green(ctx context.Context) {
	w.t.Helper()
	w.until(ctx, func() error {
		r, status, err := w.check(ctx)
		if err == nil && status != 0 {
			err = fmt.Errorf("check ends with %d\n%s", status, describe(r))
		}
		return err
	})
}

func describe(r *check.Report) string {
	var b bytes.Buffer
	for _, l := range r.Lines {
		if l.Status != check.OK && l.Status != check.Skipped {
			fmt.Fprintf(&b, "%-8s %-12s %s: %s\n", l.Status, l.ID, l.About, l.Text)
		}
	}
	return b.String()
}
