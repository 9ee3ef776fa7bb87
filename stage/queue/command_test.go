package queue

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"stagecoach/mail"
)

// commanded is a queue with its control socket, and a client.
func commanded(t *testing.T, s Settings) (*Queue, *sink, *Client) {
	t.Helper()
	dir := t.TempDir()
	q, err := Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	out := &sink{}
	q.Courier = out
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- q.ServeControl(ctx, ControlSocket(dir)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the socket", func() bool { _, err := os.Stat(ControlSocket(dir)); return err == nil })
	if info, err := os.Stat(ControlSocket(dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
	return q, out, &Client{Socket: ControlSocket(dir)}
}

func list(t *testing.T, c *Client, f Filter) (names []string) {
	t.Helper()
	for i, err := range c.List(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %s", i.Domain, i.State))
	}
	return names
}

func do(t *testing.T, c *Client, a Action, f Filter, dry bool) Result {
	t.Helper()
	r, err := c.Do(t.Context(), a, f, dry)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCommands(t *testing.T) {
	q, out, c := commanded(t, testSettings())
	out.answer = func(_ *mail.Mail, to mail.Recipient) error {
		if to.Domain() == "slow.example" {
			return mail.Defer(451, "4.7.1", "Greylisted, come again")
		}
		return nil
	}
	for n := range 3 {
		m := newMail(fmt.Sprint(n), "ann@from.example", "x@one.example", "y@slow.example")
		m.Envelope.To[1].Original = "rfc822;alias@ours.example"
		if err := q.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(list(t, c, Filter{})); n != 6 {
		t.Errorf("%d entries listed, want 6", n)
	}
	if r := do(t, c, Hold, Filter{Domain: "one.*"}, true); r != (Result{Matched: 3}) {
		t.Errorf("dry run: %+v", r)
	}
	if r := do(t, c, Hold, Filter{Domain: "one.*"}, false); r != (Result{Matched: 3, Changed: 3}) {
		t.Errorf("hold: %+v", r)
	}
	stop := running(t, q)
	defer stop()
	eventually(t, "deferrals", func() bool { return len(list(t, c, Filter{State: Deferred})) == 3 })
	for _, f := range []Filter{
		{Error: "greylisted"}, {Recipient: "alias@ours.example"}, {Recipient: "Y@SLOW.example", Sender: "ann@*"}, {State: OnHold},
	} {
		if n := len(list(t, c, f)); n != 3 {
			t.Errorf("%+v: %d entries, want 3", f, n)
		}
	}
	for _, f := range []Filter{{Error: "other"}, {Sender: "<>"}, {OlderThan: time.Hour}, {State: Damaged}, {Recipient: "x"}} {
		if n := len(list(t, c, f)); n != 0 {
			t.Errorf("%+v: %d entries, want none", f, n)
		}
	}
	if n := len(list(t, c, Filter{NewerThan: time.Hour, Limit: 2})); n != 2 {
		t.Errorf("limit 2: %d entries", n)
	}
	if out.count() != 0 {
		t.Errorf("held mail was delivered: %v", out.got)
	}
	if r := do(t, c, Release, Filter{State: OnHold}, false); r.Changed != 3 {
		t.Errorf("release: %+v", r)
	}
	eventually(t, "what was held", func() bool { return out.count() == 3 })
	out.answer = nil
	if r := do(t, c, Retry, Filter{Domain: "slow.example", Limit: 2}, false); r.Changed != 2 {
		t.Errorf("retry: %+v", r)
	}
	eventually(t, "what was retried", func() bool { return out.count() == 5 && q.Stats().Entries == 1 })
	if r := do(t, c, Drop, Filter{}, false); r.Changed != 1 {
		t.Errorf("drop: %+v", r)
	}
	if s, err := c.Stats(t.Context()); err != nil || s.Entries != 0 || s.Dropped != 1 || s.Accepted != 3 {
		t.Errorf("stats: %+v, %v", s, err)
	}
}

func TestShow(t *testing.T) {
	q, _, c := commanded(t, testSettings())
	m := newMail("1", "ann@from.example", "x@one.example", "y@two.example")
	m.Envelope.ID = "env"
	if err := q.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	id := entriesOf(t, q)[0].ID
	n := 0
	for d, err := range c.Show(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; d.ID != id || d.EnvelopeID != "env" || !d.Verified || !strings.HasPrefix(d.Header, "X-N: 1\r\n") || d.Submitter != "ann@from.example" {
			t.Errorf("%+v", d)
		}
	}
	if n != 2 {
		t.Errorf("%d entries of the letter, want 2", n)
	}
	for range c.Show(t.Context(), ID{}) {
		t.Error("a letter that is not there is shown")
	}
}

func TestBadCommands(t *testing.T) {
	_, _, c := commanded(t, testSettings())
	for _, f := range []Filter{{ID: "x"}, {Sender: "["}, {State: "odd"}, {Limit: -1}} {
		for _, err := range c.List(t.Context(), f) {
			if err == nil {
				t.Errorf("%+v is taken", f)
			}
		}
	}
	if _, err := c.Do(t.Context(), "odd", Filter{}, false); err == nil {
		t.Error("an unknown action is taken")
	}
	if _, err := (&Client{Socket: filepath.Join(t.TempDir(), "none")}).Stats(t.Context()); err == nil {
		t.Error("no service, and no error")
	}
}

// A full disk: mail is refused with 452, what is queued and its reports go on, and mail is
// taken again when there is space.
func TestFullDisk(t *testing.T) {
	disk := &smallDisk{FS: vfs.NewMem()}
	disk.free.Store(10 << 20)
	s := testSettings()
	s.Reserve, s.Ballast = 1<<20, -1
	q := openTest(t, disk, s)
	defer q.Close()
	l := &ledger{}
	out := l.scripted()
	q.Courier = out
	if err := q.Handle(t.Context(), newMail("1", "a@from.example", "x@good.example", "y@bad.example")); err != nil {
		t.Fatal(err)
	}
	disk.free.Store(1000)
	q.store.(*pebbleStore).disk.checked = time.Time{}
	err := q.Handle(t.Context(), newMail("2", "a@from.example", "x@good.example"))
	if r := mail.RefusalOf(err); r.Code != 452 || r.Status != "4.3.1" {
		t.Errorf("a full disk gives %v", err)
	}
	if q.Healthy() == nil || !q.Stats().Full {
		t.Error("a full disk is not to be seen")
	}
	stop := running(t, q)
	defer stop()
	eventually(t, "the queue drains, with its report", func() bool { return q.Stats().Entries == 0 && len(l.arrivedNow()) == 2 })
	disk.free.Store(10 << 20)
	begin := time.Now()
	eventually(t, "mail is taken again", func() bool {
		return q.Handle(t.Context(), newMail("3", "a@from.example", "x@good.example")) == nil
	})
	if d := time.Since(begin); d > time.Second {
		t.Errorf("mail is taken again after %v", d)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("a*@b.example", "", "b.example", "queued", "451")
	f.Add("[", "<>", "\\", "held", "")
	i := &Item{Domain: "b.example", State: Queued, Sender: "ann@b.example", Recipients: []ItemRecipient{{Address: mail.MustParseAddress("bob@b.example")}}}
	f.Fuzz(func(t *testing.T, sender, recipient, domain, state, text string) {
		filter := Filter{Sender: sender, Recipient: recipient, Domain: domain, State: State(state), Error: text}
		if filter.Check() == nil && filter.matches(i, time.Now()) && state != "" && state != "queued" {
			t.Errorf("%+v matches", filter)
		}
	})
}
