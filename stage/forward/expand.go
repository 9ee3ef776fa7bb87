package forward

import (
	"errors"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/srs"
)

// An expansion is the recipients of one mail on their way to be replaced. All of it is
// looked up in one Book.
type expansion struct {
	forwarder *Forwarder
	book      *account.Book
	mail      *mail.Mail

	to       []mail.Recipient
	index    map[mail.Address]int // of to
	through  []*account.User      // whose mail it was, each once
	passed   map[*account.User]bool
	followed map[*account.User][]mail.Address // what an account stands for
	returned []mail.Address                   // senders that SRS addresses stood for
}

// recipient adds what one recipient stands for.
func (e *expansion) recipient(r mail.Recipient) error {
	rewriter := e.forwarder.SRS
	if rewriter != nil && rewriter.Is(r.Address) {
		back, err := e.reverse(r.Address)
		if err != nil {
			return err
		}
		r.Address = back
		if rewriter.Is(back) { // one that we wrapped twice would go round
			return errSRS
		}
	}
	if !e.book.Hosts(r.Domain()) {
		return e.add(r)
	}
	targets, err := e.targets(r.Address)
	if err != nil {
		return err
	}
	if r.Original == "" {
		r.Original = original(r.Address)
	}
	for _, t := range targets {
		r.Address = t
		if err := e.add(r); err != nil {
			return err
		}
	}
	return nil
}

func newExpansion(f *Forwarder, m *mail.Mail) *expansion {
	return &expansion{
		forwarder: f, book: f.Accounts.Book(), mail: m,
		index:    map[mail.Address]int{},
		passed:   map[*account.User]bool{},
		followed: map[*account.User][]mail.Address{},
	}
}

// reverse gives back the sender behind an SRS address to what may use one: a bounce, or an
// automatic answer (RFC 3834). Anything else would make us an open relay.
func (e *expansion) reverse(a mail.Address) (mail.Address, error) {
	back, err := e.forwarder.SRS.Reverse(a, e.forwarder.now())
	switch {
	case errors.Is(err, srs.ErrTooLong):
		return back, errSRSGone.Because(err)
	case err != nil:
		return back, errSRS.Because(err)
	case !e.mail.Envelope.From.IsZero() && !isAutomatic(&e.mail.Message.Header):
		return back, errSRS.Because(errors.New("neither a bounce nor an automatic answer"))
	}
	e.returned = append(e.returned, back)
	return back, nil
}

// isAutomatic reads Auto-Submitted (RFC 3834 section 5): anything but "no" is automatic.
func isAutomatic(h *mail.Header) bool {
	for f := range h.Fields("Auto-Submitted") {
		keyword, _, _ := strings.Cut(f.Value(), ";")
		keyword, _, _ = strings.Cut(keyword, "(")
		return !strings.EqualFold(strings.TrimSpace(keyword), "no")
	}
	return false
}

// targets follows an address of ours through our own domains, and returns the addresses
// elsewhere that it stands for. Each user is passed once, which cuts every circle.
func (e *expansion) targets(a mail.Address) ([]mail.Address, error) {
	first, ok := e.book.Lookup(a)
	if !ok {
		return nil, errUnknown
	}
	if first.Waits() {
		return nil, errWaits
	}
	if !first.Receives() {
		return nil, errNowhere
	}
	if done, ok := e.followed[first]; ok { // by another of its addresses
		return done, nil
	}
	found, err := e.follow(first)
	if err == nil {
		e.followed[first] = found
	}
	return found, err
}

func (e *expansion) follow(first *account.User) ([]mail.Address, error) {
	var found []mail.Address
	seen := map[*account.User]bool{first: true}
	circle, waits := false, false
	for queue := []*account.User{first}; len(queue) > 0; queue = queue[1:] {
		u := queue[0]
		e.pass(u)
		for _, t := range u.Targets {
			if !e.book.Hosts(t.Domain()) {
				found = append(found, t)
				continue
			}
			next, ok := e.book.Lookup(t)
			switch {
			case ok && next.Waits():
				waits = true
			case !ok || !next.Receives():
			case seen[next]:
				circle = true
			default:
				seen[next] = true
				queue = append(queue, next)
			}
		}
		if len(found) > maxTargets {
			return nil, errTooMany
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case waits:
		return nil, errWaits
	case circle:
		return nil, errLoop
	}
	return nil, errNowhere
}

func (e *expansion) pass(u *account.User) {
	if !e.passed[u] {
		e.passed[u] = true
		e.through = append(e.through, u)
	}
}

// add appends a recipient, or merges it with the same one that is there already.
func (e *expansion) add(r mail.Recipient) error {
	if i, ok := e.index[r.Address]; ok {
		e.to[i].Notify = merge(e.to[i].Notify, r.Notify)
		return nil
	}
	if len(e.to) >= maxTargets {
		return errTooMany
	}
	e.index[r.Address] = len(e.to)
	e.to = append(e.to, r)
	return nil
}

// merge wishes for whatever one of both wished for. Not to say means to hear of failures and
// delays (RFC 3461 section 4.1).
func merge(a, b mail.Notify) mail.Notify {
	if a == b {
		return a
	}
	usual := func(n mail.Notify) mail.Notify {
		if n == 0 {
			return mail.NotifyFailure | mail.NotifyDelay
		}
		return n
	}
	if n := (usual(a) | usual(b)) &^ mail.NotifyNever; n != 0 {
		return n
	}
	return mail.NotifyNever
}

// original returns an address as ORCPT (RFC 3461 section 4.2, RFC 6533 section 3), decoded.
func original(a mail.Address) string {
	if a.IsASCII() {
		return "rfc822;" + a.String()
	}
	return "utf-8;" + a.String()
}
