// Package verify is the edge towards the world: mail from strangers is asked who it is.
//
// At RCPT it refuses what is not for us. Of each message it finds out what iprev, SPF, DKIM,
// DMARC and ARC say, strikes out what was forged in our name, and writes the answer into the
// header, where every later stage and every reader finds it.
package verify

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dmarc"
	"stagecoach/rfc/dns"
)

// A Verifier verifies mail. Its fields are set before use and not changed after. It is safe
// for concurrent use, and fits smtp.Gate.
type Verifier struct {
	Name     string             // ours: authserv-id and receiver
	Resolver dns.Exchanger      // trusted; answers are believed
	Accounts *account.Directory // who lives here; nil: everybody in Domains does
	Domains  []string           // hosted here, canonical, besides those of Accounts

	// Returns reports whether an address is one that we made of a foreign sender (SRS), and
	// still good. Such addresses are admitted. nil: there are none.
	Returns func(mail.Address) bool

	// Service reports whether an address of ours, at which nobody lives, is taken by a stage
	// behind this one; nil: none is.
	Service func(mail.Address) bool

	// LabelOnly lets mail pass that DMARC wants rejected, with a label. Mail that claims a
	// domain of ours is refused all the same.
	LabelOnly bool

	// PublicSuffixes is dmarc.Options.PublicSuffixes.
	PublicSuffixes bool

	// Beside is called while a mail is being verified, for look-ups whose answers a later stage will
	// want from the resolver's memory. The mail waits for it. nil: there are none.
	Beside func(ctx context.Context, client netip.Addr)

	Timeout time.Duration // for all look-ups about one mail together; default 20 s
	Now     func() time.Time
	Next    mail.Handler
}

var _ mail.Handler = (*Verifier)(nil)

const defaultTimeout = 20 * time.Second

// The replies. Causes go to the log.
var (
	errRelay    = mail.Reject(550, "5.7.1", "we do not relay to that domain")
	errUnknown  = mail.Reject(550, "5.1.1", "no such user here")
	errDisabled = mail.Reject(550, "5.2.1", "this mailbox takes no mail")
	errWaits    = mail.Defer(450, "4.2.1", "this mailbox takes no mail yet, please try again later")
	errFrom     = mail.Reject(550, "5.7.1", "the message needs one From field with one address in it")
	errOurs     = mail.Reject(550, "5.7.1", "this mail claims a domain of ours and cannot prove it (DMARC)")
	errOursWait = mail.Defer(451, "4.7.0", "the sender could not be verified yet, please try again later")
)

// Admit answers to RCPT: nil if mail for this recipient is taken. Postmaster and abuse of
// our domains always are (RFC 5321 section 4.5.1, RFC 2142). Whatever the local part looks
// like ("user%elsewhere", "elsewhere!user", "user@elsewhere" in quotes), it is looked up as it
// stands and leads nowhere else.
func (v *Verifier) Admit(_ context.Context, _ *mail.Mail, to mail.Address) error {
	if !v.hosts(to.Domain()) {
		return errRelay
	}
	if role := strings.ToLower(to.Local()); role == "postmaster" || role == "abuse" {
		return nil
	}
	if v.Returns != nil && v.Returns(to) {
		return nil
	}
	if v.Service != nil && v.Service(to) {
		return nil
	}
	if v.Accounts == nil {
		return nil
	}
	u, ok := v.Accounts.Book().Lookup(to)
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

// hosts reports whether a domain, as mail.Address.Domain has it, is ours.
func (v *Verifier) hosts(domain string) bool {
	for _, d := range v.Domains {
		if d == domain {
			return true
		}
	}
	return v.Accounts != nil && v.Accounts.Book().Hosts(domain)
}

// Handle verifies a mail, labels it, and hands it on; or refuses it. Later stages see no Peer,
// and nobody vouches for a stranger in AUTH=.
func (v *Verifier) Handle(ctx context.Context, m *mail.Mail) error {
	author, err := m.Message.Header.Author()
	if err != nil {
		return errFrom.Because(err)
	}
	f, err := v.examine(ctx, m, author)
	if err != nil {
		return err
	}
	if err := v.judge(f); err != nil {
		return err
	}
	v.strike(&m.Message.Header)
	m.Message.Header.Prepend(append([]mail.Field{f.results(v).Field()}, f.receivedSPF(v.Name)...)...)
	m.Peer = mail.Peer{}
	m.Envelope.Submitter = ""
	return v.Next.Handle(ctx, m)
}

// judge refuses what must not pass.
func (v *Verifier) judge(f *findings) error {
	if err := v.judgeOurs(f); err != nil {
		return err
	}
	d := f.dmarc
	switch {
	case v.LabelOnly:
		return nil
	case d.Disposition == dmarc.Reject:
		return mail.Reject(550, "5.7.1", "refused by the DMARC policy of "+d.PolicyDomain).Because(f.cause(nil))
	case d.Value == dmarc.TempError && d.Policy == dmarc.Reject:
		// The domain wants forgeries rejected, and whether this is one hangs on DNS.
		return errOursWait.Because(f.cause(d.Problem))
	}
	return nil
}

// judgeOurs holds mail that claims a domain of ours to a proof, whatever policy the domain
// has: forwarded by us it would look genuine.
func (v *Verifier) judgeOurs(f *findings) error {
	for _, d := range []*dmarc.Result{f.ourAuthor, f.ourSender} {
		switch {
		case d == nil || d.Aligned():
		case d.Value == dmarc.TempError || d.Value == dmarc.None && d.Problem != nil:
			return errOursWait.Because(f.cause(d.Problem))
		default:
			return errOurs.Because(f.cause(d.Problem))
		}
	}
	return nil
}

// ownFields are the names in which our stages speak. From outside they mean nothing.
var ownFields = []string{"X-Spamtacus", "X-Spam-Status", "X-Spam-Flag"}

// strike removes what a stranger wrote in our name. The marks by which we know mail in a loop
// stay: they can only harm who forges them.
func (v *Verifier) strike(h *mail.Header) {
	authres.Strike(h, v.isOurs)
	h.Strike(func(f mail.Field) bool {
		for _, name := range ownFields {
			if f.Is(name) {
				return true
			}
		}
		return f.Is("Received-SPF") && v.mayBeOurs(f.Value())
	})
}

// isOurs reports whether an authserv-id or host name is ours, or below a domain of ours.
func (v *Verifier) isOurs(name string) bool {
	if strings.EqualFold(name, v.Name) {
		return true
	}
	for name != "" {
		if v.hosts(name) {
			return true
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return false
}

// mayBeOurs reports whether a Received-SPF field could be taken for one of ours: it names us,
// or no receiver at all.
func (v *Verifier) mayBeOurs(value string) bool {
	_, receiver, ok := strings.Cut(strings.ToLower(value), "receiver")
	receiver = strings.TrimLeft(receiver, " \t\"=")
	if i := strings.IndexAny(receiver, " \t\";(),"); i >= 0 {
		receiver = receiver[:i]
	}
	return !ok || receiver == "" || v.isOurs(strings.TrimSuffix(receiver, ".")) || strings.Contains(strings.ToLower(value), strings.ToLower(v.Name))
}
