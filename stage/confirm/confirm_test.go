package confirm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/repo"
	"stagecoach/stage/stagetest"
)

var testKey = []byte("0123456789abcdef")

// A house has accounts in a plain folder, and a Confirmer.
type house struct {
	*Confirmer
	t        *testing.T
	folder   string
	accounts *account.Directory
	asked    *stagetest.Sink
	passed   *stagetest.Sink
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, folder: t.TempDir(), asked: &stagetest.Sink{}, passed: &stagetest.Sink{}}
	h.put("ann", `{"targets":["ann@far.example","Old@far.example"]}`)
	h.put(".unconfirmed/ann", "ann@far.example\n")
	h.put("bob", `{"targets":["bob@far.example"]}`)
	h.put("y.example/carl", `{"targets":["carl@far.example"],"disabled":true}`)
	h.put(".unconfirmed/y.example/carl", "carl@far.example\n")
	remote, err := repo.Open(h.folder, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	settings := account.Settings{Domain: "x.example", Separator: "+"}
	if h.accounts, err = account.Open(t.Context(), remote, settings); err != nil {
		t.Fatal(err)
	}
	h.Confirmer = &Confirmer{Accounts: h.accounts, Key: testKey, Next: h.passed, Send: h.asked}
	h.open(filepath.Join(t.TempDir(), "confirmations"))
	return h
}

func (h *house) open(file string) {
	h.t.Helper()
	var err error
	if h.Ledger, err = OpenLedger(file); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Believe(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) put(name, text string) {
	h.t.Helper()
	name = filepath.Join(h.folder, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) user(name string) *account.User {
	u, ok := h.accounts.Book().Login(name)
	if !ok {
		h.t.Fatalf("no %s", name)
	}
	return u
}

func (h *house) writable() {
	k, s, _ := h.accounts.Keeper()
	h.Store = InFiles(k, s, account.Author{Name: "stagecoach", Email: "postmaster@x.example"})
}

func answer(from, header string, to ...string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte("From: who@ever.example\r\n" + header + "\r\nyes\r\n"))}
	if from != "" {
		m.Envelope.From = mail.MustParseAddress(from)
	}
	for _, a := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(a)})
	}
	return m
}

func annToken() string {
	return Token(testKey, mail.MustParseAddress("ann@x.example"), mail.MustParseAddress("ann@far.example"))
}

// A target is asked at once, again after a day, three times in all, over a restart too.
func TestAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		for _, want := range []int{1, 1, 2} {
			time.Sleep(12*time.Hour - time.Minute/2)
			if got := len(h.asked.Mails()); got != want {
				t.Errorf("after %v: asked %d times, want %d", time.Now(), got, want)
			}
			time.Sleep(time.Minute)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		h.open(h.Ledger.file)
		ctx, stop = context.WithCancel(t.Context())
		go func() { done <- h.Run(ctx) }()
		time.Sleep(10 * 24 * time.Hour)
		stop()
		<-done
		if got := len(h.asked.Mails()); got != MaxAsked {
			t.Errorf("asked %d times", got)
		}
	})
}

func TestQuestion(t *testing.T) {
	h := newHouse(t)
	h.Round(t.Context())
	mails := h.asked.Mails()
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	m := mails[0]
	if got := m.Envelope.From.String(); got != "postmaster@x.example" || m.Envelope.Submitter != got {
		t.Errorf("from %s, vouched for by %q", got, m.Envelope.Submitter)
	}
	if len(m.Envelope.To) != 1 || m.Envelope.To[0].String() != "ann@far.example" || m.Envelope.UTF8 {
		t.Errorf("%+v", m.Envelope)
	}
	to := "confirm+" + annToken() + "@x.example"
	text := strings.Join(m.Fields, "") + m.Body
	for _, want := range []string{"Reply-To: " + to + "\r\n", "Auto-Submitted: auto-generated\r\n", "\r\n    " + to + "\r\n", "\r\n    ann@x.example\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if strings.ContainsAny(text, "{}") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") {
		t.Errorf("something was not filled in, or a bare LF:\n%s", text)
	}
	message := mail.NewMessage([]byte(text))
	if a, err := message.Header.Author(); err != nil || a.String() != "postmaster@x.example" {
		t.Error(a, err)
	}
}

// An answer counts at once, is in the files soon, and may come twice.
func TestAnswer(t *testing.T) {
	h := newHouse(t)
	h.writable()
	to := strings.ToUpper("confirm+" + annToken() + "@x.example")
	for range 2 {
		if !h.Takes(mail.MustParseAddress(to)) {
			t.Error("the gate would refuse the answer")
		}
		if err := h.Handle(t.Context(), answer("else@where.example", "", to)); err != nil {
			t.Fatal(err)
		}
		if u := h.user("ann"); len(u.Targets) != 2 || len(u.Pending) != 0 {
			t.Errorf("targets %v, pending %v", u.Targets, u.Pending)
		}
		h.Round(t.Context())
		if len(h.Ledger.confirmed()) != 0 {
			t.Error("the ledger still keeps what the files know")
		}
	}
	if _, err := os.Stat(filepath.Join(h.folder, ".unconfirmed/ann")); err == nil {
		t.Error("the mark is still there")
	}
	if len(h.passed.Mails()) != 0 || len(h.asked.Mails()) != 0 {
		t.Error("mails went on")
	}
	if u := h.user("ann"); len(u.Targets) != 2 {
		t.Error(u.Targets)
	}
}

// Without the right to write the ledger is enough, over a restart too.
func TestNoRightToWrite(t *testing.T) {
	h := newHouse(t)
	tries := 0
	h.Store = func(context.Context, mail.Address, mail.Address) error { tries++; return repo.ErrRejected }
	now := time.Now()
	h.Now = func() time.Time { return now }
	if err := h.Handle(t.Context(), answer("else@where.example", "", "confirm+"+annToken()+"@x.example", "bob@x.example")); err != nil {
		t.Fatal(err)
	}
	if mails := h.passed.Mails(); len(mails) != 1 || len(mails[0].Envelope.To) != 1 || mails[0].Envelope.To[0].String() != "bob@x.example" {
		t.Errorf("%+v", mails)
	}
	for range 3 {
		h.Round(t.Context())
	}
	if tries != 1 {
		t.Errorf("%d tries in an hour", tries)
	}
	now = now.Add(2 * time.Hour)
	h.Round(t.Context())
	h.open(h.Ledger.file)
	if u := h.user("ann"); len(u.Pending) != 0 || tries != 2 {
		t.Error(u.Pending, tries)
	}
}

func TestWhatConfirmsNothing(t *testing.T) {
	right := "confirm+" + annToken() + "@x.example"
	for name, m := range map[string]*mail.Mail{
		"bounce":           answer("", "", right),
		"vacation":         answer("ann@far.example", "Auto-Submitted: auto-replied (vacation)\r\n", right),
		"old vacation":     answer("ann@far.example", "Precedence: bulk\r\n", right),
		"older vacation":   answer("ann@far.example", "X-Autoreply: yes\r\n", right),
		"report":           answer("ann@far.example", "Content-Type: multipart/report; report-type=disposition-notification\r\n", right),
		"other token":      answer("ann@far.example", "", "confirm+"+Token(testKey, mail.MustParseAddress("ann@x.example"), mail.MustParseAddress("x@far.example"))+"@x.example"),
		"other domain":     answer("ann@far.example", "", "confirm+"+annToken()+"@y.example"),
		"not hosted":       answer("ann@far.example", "", "confirm+"+annToken()+"@far.example"),
		"without a token":  answer("ann@far.example", "", "confirm@x.example"),
		"confirmed before": answer("ann@far.example", "", "confirm+"+Token(testKey, mail.MustParseAddress("bob@x.example"), mail.MustParseAddress("bob@far.example"))+"@x.example"),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			if err := h.Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if u := h.user("ann"); len(u.Pending) != 1 {
				t.Error("it confirmed the target")
			}
		})
	}
}

// When the queue takes no mail nobody counts as asked.
func TestQueueTrouble(t *testing.T) {
	h := newHouse(t)
	h.Send = &stagetest.Sink{Verdict: errors.New("disk full")}
	h.Round(t.Context())
	h.Send = h.asked
	h.Round(t.Context())
	if len(h.asked.Mails()) != 1 {
		t.Error("not asked again")
	}
	h.Round(t.Context())
	if len(h.asked.Mails()) != 1 {
		t.Error("asked twice")
	}
}

// When the disk takes nothing the answer is not taken either.
func TestLedgerTrouble(t *testing.T) {
	h := newHouse(t)
	h.Ledger.file = filepath.Join(t.TempDir(), "absent", "file")
	err := h.Handle(t.Context(), answer("else@where.example", "", "confirm+"+annToken()+"@x.example"))
	if err == nil || mail.IsPermanent(err) || len(h.user("ann").Pending) != 1 {
		t.Error(err, h.user("ann").Pending)
	}
	h.Round(t.Context())
	if len(h.asked.Mails()) != 0 {
		t.Error("asked without being able to count")
	}
	file := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLedger(file); err == nil {
		t.Error("a damaged ledger was read")
	}
}

func TestConforms(t *testing.T) {
	stagetest.Run(t, func(next mail.Handler) mail.Handler {
		h := newHouse(t)
		h.Next = next
		return h.Confirmer
	})
}

func FuzzTokenOf(f *testing.F) {
	f.Add("confirm+" + annToken() + "@x.example")
	f.Add("confirm+@x.example")
	f.Add(`"confirm+ab cd"@x.example`)
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		if token, ok := tokenOf(a); ok {
			if _, err := mail.NewAddress(prefix+token, a.Domain()); err != nil || !Like(a) {
				t.Error(err)
			}
		}
	})
}
