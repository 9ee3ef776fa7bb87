// Package teach lets users teach the spam filter by mail: what a user of ours forwards as an
// attachment to spam@ or ham@ of our domain is learned, for this user.
package teach

import (
	"context"
	"errors"
	"io"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/spam"
	"stagecoach/spam/mime"
	"stagecoach/spam/teach"
)

// The local parts that teach.
const (
	Spam = "spam"
	Ham  = "ham"
)

// A Teacher stands behind the submission server. It takes what is for the teaching addresses,
// and hands the rest on. It believes AUTH= (RFC 4954 section 5), so nothing but our submission
// may reach it. It is safe for concurrent use.
type Teacher struct {
	Accounts *account.Directory
	Lessons  *teach.Store
	Judge    func() *spam.Judge // the model in use
	Next     mail.Handler

	// Trouble hears what went wrong with remembering to whom a user wrote, which nobody is told
	// of; nil is silent.
	Trouble func(ctx context.Context, err error)
}

var _ mail.Handler = (*Teacher)(nil)

// The replies.
var (
	errNobody   = mail.Reject(550, "5.7.1", "only users who are logged in can teach the filter")
	errNoMail   = mail.Reject(554, "5.6.0", "forward the mail to be taught as an attachment, not inline")
	errBoth     = mail.Reject(554, "5.5.0", "a mail is spam or it is not: write to one of the two addresses")
	errTooLarge = mail.Reject(552, "5.3.4", "the mail is too large to be taught")
)

const (
	maxBody  = 32 << 20
	maxMails = 50 // in one forwarded mail
)

// Teaches reports whether an address teaches: spam@ or ham@ of a domain of ours, unless somebody
// has that very name.
func (t *Teacher) Teaches(a mail.Address) bool {
	local := strings.ToLower(a.Local())
	if local != Spam && local != Ham {
		return false
	}
	book := t.Accounts.Book()
	if !book.Hosts(a.Domain()) {
		return false
	}
	u, ok := book.Lookup(a)
	return !ok || u.CatchAll && !strings.EqualFold(u.Name, local)
}

// Handle teaches and passes on. A mail that was taught before the same way is taken in silence:
// the client may have missed our first answer.
func (t *Teacher) Handle(ctx context.Context, m *mail.Mail) error {
	spamTo, hamTo := false, false
	var rest []mail.Recipient
	for _, to := range m.Envelope.To {
		switch {
		case !t.Teaches(to.Address):
			rest = append(rest, to)
		case strings.EqualFold(to.Local(), Spam):
			spamTo = true
		default:
			hamTo = true
		}
	}
	switch {
	case spamTo && hamTo:
		return errBoth
	case spamTo || hamTo:
		if err := t.teach(m, spamTo); err != nil {
			return err
		}
	}
	if len(rest) == 0 {
		return nil
	}
	who := m.Envelope.Submitter
	m.Envelope.To = rest
	if err := t.Next.Handle(ctx, m); err != nil {
		return err
	}
	t.wrote(ctx, who, rest)
	return nil
}

// wrote remembers correspondents.
func (t *Teacher) wrote(ctx context.Context, who string, to []mail.Recipient) {
	name, ok := t.user(who)
	if !ok {
		return
	}
	addresses := make([]mail.Address, len(to))
	for i, r := range to {
		addresses[i] = r.Address
	}
	if err := t.Lessons.Wrote(name, addresses...); err != nil && t.Trouble != nil {
		t.Trouble(ctx, err)
	}
}

// user returns the user who is logged in.
func (t *Teacher) user(submitter string) (string, bool) {
	a, err := mail.ParseAddress(submitter)
	if err != nil {
		return "", false
	}
	u, ok := t.Accounts.Book().Lookup(a)
	if !ok {
		return "", false
	}
	return strings.ToLower(u.Address().String()), true
}

// teach learns from every mail that is attached.
func (t *Teacher) teach(m *mail.Mail, isSpam bool) error {
	name, ok := t.user(m.Envelope.Submitter)
	if !ok {
		return errNobody
	}
	attached, err := attachments(m.Message)
	if err != nil {
		return err
	}
	if len(attached) == 0 {
		return errNoMail
	}
	judge := t.Judge()
	if judge == nil {
		return errors.New("teach: there is no model")
	}
	for _, raw := range attached {
		err := t.Lessons.Teach(name, judge, mail.NewMessage(raw), isSpam)
		if err != nil && !errors.Is(err, teach.ErrTaught) {
			return err
		}
	}
	return nil
}

// attachments returns the messages that are attached to one.
func attachments(m *mail.Message) ([][]byte, error) {
	if m.Body.Size() > maxBody {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(m.NewReader())
	if err != nil {
		return nil, err
	}
	var out [][]byte
	w := mime.Walker{Message: func(raw []byte) {
		if len(out) < maxMails {
			out = append(out, normal(raw))
		}
	}}
	h := &m.Header
	w.Walk(h.Value("Content-Type"), h.Value("Content-Transfer-Encoding"), h.Value("Content-Disposition"), body, func(*mime.Part) {})
	return out, nil
}

// normal gives every line its CRLF: inside base64 senders write what they like.
func normal(raw []byte) []byte {
	s := strings.TrimLeft(string(raw), "\r\n")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return []byte(strings.ReplaceAll(s, "\n", "\r\n"))
}
