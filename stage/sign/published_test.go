package sign

import (
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/stage/stagetest"
)

// Only keys that receivers can see sign. Mail that none of them could sign stays with its sender, and
// what is forwarded passes as it came.
func TestPublished(t *testing.T) {
	const ours, forwarded = "From: ann@example.org\r\n\r\nx\r\n", results + letter
	for _, c := range []struct {
		name, published, submitter, text, want string
	}{
		{"all", "s1 s2", "ann@example.org", ours, "DKIM-Signature s1, DKIM-Signature s2"},
		{"one of two", "s2", "ann@example.org", ours, "DKIM-Signature s2"},
		{"none", "", "ann@example.org", ours, "refused for now"},
		{"none, of a domain without keys", "", "ann@example.org", "From: ann@example.com\r\n\r\nx\r\n", ""},
		{"forwarded", "s1", "", forwarded, "ARC-Seal s1"},
		{"forwarded, none", "", "", forwarded, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := new(stagetest.Sink)
			s := sealer(sink)
			s.Published = func(selector, domain string) bool {
				return strings.Contains(c.published, selector) && domain == "example.org"
			}
			if err := s.Check(); err != nil {
				t.Error(err)
			}
			m := &mail.Mail{Message: mail.NewMessage([]byte(c.text))}
			m.Envelope.From, m.Envelope.Submitter = mail.MustParseAddress("ann@example.org"), c.submitter
			err := s.Handle(t.Context(), m)
			var got []string
			for _, seen := range sink.Mails() {
				for _, f := range seen.Fields {
					if name, _, _ := strings.Cut(f, ":"); name == "DKIM-Signature" || name == "ARC-Seal" {
						got = append(got, name+" "+tag(f, " s="))
					}
				}
			}
			if err != nil && !mail.IsPermanent(err) && len(sink.Mails()) == 0 {
				got = append(got, "refused for now")
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("got %q (%v), want %q", s, err, c.want)
			}
		})
	}
}
