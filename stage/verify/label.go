package verify

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/arc"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dmarc"
	"stagecoach/rfc/spf"
)

// results is our Authentication-Results field.
func (f *findings) results(v *Verifier) authres.Results {
	r := authres.Results{ID: v.Name}
	if f.iprev.value != "" {
		r.Results = append(r.Results, authres.Result{
			Method: "iprev", Value: f.iprev.value, Comment: f.iprev.name,
			Props: []authres.Prop{{Type: "policy", Name: "iprev", Value: f.ip.String()}},
		})
	}
	r.Results = append(r.Results,
		spfResult(f.helo, "helo", f.helo.Domain),
		spfResult(f.mailFrom, "mailfrom", f.mailFrom.Sender))
	for _, d := range f.dkim {
		r.Results = append(r.Results, dkimResult(d))
	}
	r.Results = append(r.Results, authres.Result{
		Method: "dmarc", Value: string(f.dmarc.Value), Comment: v.policyComment(f.dmarc),
		Props: props("header", "from", f.author.Domain()),
	})
	r.Results = append(r.Results, f.arcResult())
	return r
}

// arcResult says what became of the chain, and from where the mail came, which the first set of a
// chain is to tell (RFC 8617 sections 6 and 7.2.2). Where a key could not be looked
// up it says temperror, as the other methods do: that the chain had failed would be said for good
// by the next seal.
func (f *findings) arcResult() authres.Result {
	r := authres.Result{Method: "arc", Value: string(f.arc.Status)}
	switch f.arc.Status {
	case arc.Pass:
		r.Comment = fmt.Sprintf("i=%d", f.arc.Length)
		r.Props = props("header", "oldest-pass", strconv.Itoa(f.arc.Oldest))
	case arc.TempError:
		r.Reason = "a key could not be looked up"
	}
	if f.ip.IsValid() {
		r.Props = append(r.Props, props("smtp", "remote-ip", f.ip.String())...)
	}
	return r
}

// maxProp bounds what strangers wrote into one value, so that no line grows too long.
const maxProp = 320

// props makes properties of one type of pairs, without those that are empty.
func props(ptype string, pairs ...string) []authres.Prop {
	var out []authres.Prop
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := pairs[i+1]; value != "" {
			out = append(out, authres.Prop{Type: ptype, Name: pairs[i], Value: strings.ToValidUTF8(value[:min(len(value), maxProp)], "?")})
		}
	}
	return out
}

func spfResult(o spf.Outcome, property, value string) authres.Result {
	r := authres.Result{Method: "spf", Value: string(o.Result), Props: props("smtp", property, value)}
	switch o.Result {
	case spf.PermError:
		r.Reason = "the record is broken"
	case spf.TempError:
		r.Reason = "a key could not be looked up"
	}
	return r
}

func dkimResult(d dkim.Result) authres.Result {
	r := authres.Result{Method: "dkim", Value: string(d.Status), Reason: d.Reason}
	if d.Bits > 0 {
		r.Comment = fmt.Sprintf("%d-bit key", d.Bits)
		if d.Testing {
			r.Comment += ", testing"
		}
	}
	r.Props = props("header", "d", d.Domain, "i", d.Identity, "s", d.Selector, "a", d.Algorithm, "b", d.Prefix)
	return r
}

// policyComment says what the domain asks for and what we do about it.
func (v *Verifier) policyComment(d dmarc.Result) string {
	if d.Record == nil {
		return ""
	}
	done := d.Disposition
	if done == dmarc.Reject { // it would not be here, had we honoured it
		done = dmarc.NoAction
	}
	s := fmt.Sprintf("p=%s", d.Record.Policy)
	if d.Tag != "p" {
		s += fmt.Sprintf(" %s=%s", d.Tag, d.Policy)
	}
	return s + fmt.Sprintf(" dis=%s", done)
}

// receivedSPF is the Received-SPF field of the identity that speaks for the mail.
func (f *findings) receivedSPF(receiver string) []mail.Field {
	if !f.ip.IsValid() {
		return nil
	}
	return []mail.Field{f.mailFrom.Field(receiver)}
}

// cause says for the log what a refusal rests on.
func (f *findings) cause(problem error) error {
	text := fmt.Sprintf("From %s, MAIL FROM <%s>, client %s: spf=%s dmarc=%s", f.author, f.sender, f.ip, f.mailFrom.Result, f.dmarc.Value)
	for _, d := range f.dkim {
		text += fmt.Sprintf(" dkim=%s", d.Status)
		if d.Domain != "" {
			text += " of " + d.Domain
		}
	}
	if problem == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, problem)
}
