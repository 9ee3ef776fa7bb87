package submit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
)

// What a user is told of mail that is not taken. They are our own users, so it is told plainly.
var (
	errLogin     = mail.Reject(530, "5.7.0", "authentication required")
	errAccount   = mail.Reject(550, "5.7.1", "this account may not send mail any more")
	errSender    = mail.Reject(550, "5.7.1", "the sender address is not yours")
	errFrom      = mail.Reject(550, "5.7.1", "the message must have one From field with one address, and it must be yours")
	errSenderHdr = mail.Reject(550, "5.7.1", "the Sender field must have one address, and it must be yours")
	errUnknown   = mail.Reject(550, "5.1.1", "no such user here")
	errDisabled  = mail.Reject(550, "5.2.1", "this mailbox takes no mail")
	errWaits     = mail.Defer(450, "4.2.1", "this mailbox takes no mail yet, please try again later")
)

// Admit decides on one recipient. Where mail goes is the client's business (RFC 6409 section 3.1); but what
// cannot be right is said here, while the user is looking: a sender who is somebody else,
// a recipient in our own domains whom nobody knows, a spent budget.
func (s *Submitter) Admit(_ context.Context, m *mail.Mail, to mail.Address) error {
	book := s.Accounts.Book()
	u, err := s.sender(book, m)
	if err != nil {
		return err
	}
	if err := known(book, to); err != nil && (s.Service == nil || !s.Service(to)) {
		return err
	}
	return s.spend(u, len(m.Envelope.To)+1, false)
}

// sender returns who is logged in, when the envelope's sender is his.
func (s *Submitter) sender(book *account.Book, m *mail.Mail) (*account.User, error) {
	if m.Peer.User == "" {
		return nil, errLogin
	}
	u, ok := book.Login(m.Peer.User)
	if !ok || !u.CanLogin() {
		return nil, errAccount
	}
	// The null sender is for receipts (RFC 8098 section 3) and automatic answers (RFC 3834),
	// which clients send too. Who sends it is known all the same, by From and AUTH=.
	if from := m.Envelope.From; !from.IsZero() && !u.Owns(from) {
		return nil, errSender
	}
	return u, nil
}

func known(book *account.Book, to mail.Address) error {
	if !book.Hosts(to.Domain()) {
		return nil
	}
	u, ok := book.Lookup(to)
	switch {
	case !ok:
		return errUnknown
	case u.Waits():
		return errWaits
	case !u.Receives():
		return errDisabled
	}
	return nil
}

func (s *Submitter) spend(u *account.User, n int, take bool) error {
	err := s.budget.look(s.now(), u.Address(), s.Rates.withDefaults(), n, take)
	if err != nil {
		s.log().Warn("sending limit reached", "user", u.Address().String(), "error", err)
	}
	return err
}

// Handle takes a mail from a user: it must be his own. It adds what a message needs and lacks
// (RFC 6409 section 8), strikes out what is not for others to see or to be believed, and
// vouches for the user by AUTH=.
func (s *Submitter) Handle(ctx context.Context, m *mail.Mail) error {
	book := s.Accounts.Book()
	u, err := s.sender(book, m)
	if err != nil {
		return err
	}
	h := &m.Message.Header
	author, err := owned(u, h)
	if err != nil {
		return err
	}
	n := len(m.Envelope.To)
	if err := s.spend(u, n, true); err != nil {
		return err
	}
	s.complete(h, author)
	m.Envelope.Submitter = u.Address().String()
	m.Peer = mail.Peer{}
	if err := s.Next.Handle(ctx, m); err != nil {
		s.budget.giveBack(u.Address(), n)
		return err
	}
	return nil
}

// owned returns the author when From, and Sender if there is one, belong to the user.
func owned(u *account.User, h *mail.Header) (mail.Address, error) {
	author, err := h.Author()
	if err != nil {
		return author, errFrom.Because(err)
	}
	if !u.Owns(author) {
		return author, errFrom.Because(errors.New("From " + author.String() + " is not " + u.Address().String() + "'s"))
	}
	switch h.Count("Sender") {
	case 0:
		return author, nil
	case 1:
		a, err := mail.ParseFrom(h.Value("Sender"))
		if err != nil {
			return author, errSenderHdr.Because(err)
		}
		if u.Owns(a) {
			return author, nil
		}
	}
	return author, errSenderHdr
}

// notForOthers are the fields that go: hidden recipients (RFC 5322 section 3.6.3), the trace of a
// delivery that is yet to come (RFC 5321 section 4.4), and verdicts that are ours to give.
var notForOthers = []string{
	"Bcc", "Resent-Bcc", "Return-Path",
	"Authentication-Results", "Received-SPF", "X-Spamtacus", "X-Spam-Status", "X-Spam-Flag",
}

func (s *Submitter) complete(h *mail.Header, author mail.Address) {
	h.Strike(func(f mail.Field) bool { return slices.ContainsFunc(notForOthers, f.Is) })
	if h.Count("Message-ID") == 0 {
		h.Prepend(mail.NewField("Message-ID", "<"+newID()+"@"+author.Domain()+">"))
	}
	if h.Count("Date") == 0 {
		h.Prepend(mail.NewField("Date", s.now().Format(time.RFC1123Z)))
	}
}

func newID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // it does not fail
	return hex.EncodeToString(b[:])
}
