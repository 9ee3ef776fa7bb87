package setup

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// Zone returns the text of the zone at its beginning. dkim are the records of the keys that mail
// is signed with, a line of zone text each.
func (d Domain) Zone(dkim []string, now time.Time) string {
	w := &zoneWriter{origin: d.Name}
	w.comment(`The zone of %s, made by "stagecoach init". It is yours from here on: change it, raise the serial, push.
"stagecoach zone check" says what is wrong with it. The service changes it too, by signed updates.`, d.Name)
	w.line("$TTL 3600")
	w.line("@\tSOA\t%s. postmaster.%s. %d 7200 900 1209600 900 ; serial, refresh, retry, expire, how long a no is remembered",
		d.NameServers[0].Host, d.Name, FirstSerial(now))
	d.servers(w)
	d.mail(w)

	w.comment("Keys that mail is signed with (DKIM, RFC 6376): RSA, which every receiver knows, and Ed25519.")
	for _, record := range dkim {
		w.line("%s", w.relative(record))
	}
	d.policies(w)
	d.clients(w)

	w.comment("Who may issue certificates for these names (RFC 8659). Without a wildcard nobody gets one.")
	w.row("@", "CAA", `0 issue "letsencrypt.org"`)
	w.row("@", "CAA", `0 issuewild ";"`)
	w.row("@", "CAA", `0 iodef %s`, quote("mailto:"+d.Reports))
	if len(d.Keep) > 0 {
		w.comment("What the domain had before, as far as init could see.")
		for _, record := range d.Keep {
			w.line("%s", w.relative(record))
		}
	}
	return w.text.String()
}

func (d Domain) servers(w *zoneWriter) {
	w.comment("Name servers, and where they are. The parent zone has the same records.")
	for _, s := range d.NameServers {
		w.row("@", "NS", "%s.", s.Host)
	}
	for _, s := range d.NameServers {
		if d.holds(s.Host) {
			w.addresses(s.Host, s.Addresses)
		}
	}
}

func (d Domain) mail(w *zoneWriter) {
	w.comment("Mail to the domain goes to %s, whose addresses have it as their PTR. It, and nobody else, sends for the domain\n(SPF, RFC 7208), under either name.", d.MX)
	w.row("@", "MX", "10 %s.", d.MX)
	w.row("@", "TXT", `"v=spf1 mx -all"`)
	if !d.isServer(d.MX) {
		w.addresses(d.MX, d.Addresses)
	}
	w.row(d.MX, "TXT", `"v=spf1 a -all"`)
}

func (d Domain) policies(w *zoneWriter) {
	w.comment(`What receivers do with mail that is neither signed by nor sent from here (DMARC, RFC 9989). With p=reject they refuse
it; mailing lists that change mail then lose that of your users.`)
	w.row("_dmarc", "TXT", "%s", quote("v=DMARC1; p="+d.Policy+"; rua=mailto:"+d.Reports))
	w.comment(`Senders are told to insist on TLS (MTA-STS, RFC 8461), by a text at https://mta-sts.%s/, and where to report that it
failed (TLS-RPT, RFC 8460). Raise the id when the text changes.`, d.Name)
	w.row("_mta-sts", "TXT", `"v=STSv1; id=1"`)
	w.addresses("mta-sts."+d.Name, d.Addresses)
	w.row("_smtp._tls", "TXT", "%s", quote("v=TLSRPTv1; rua=mailto:"+d.Reports))
}

func (d Domain) clients(w *zoneWriter) {
	w.comment("Where users' programs send mail (RFC 6186, RFC 8314), and that there is no mailbox here to read.")
	if !d.isServer(d.Submission) && d.Submission != d.MX {
		w.addresses(d.Submission, d.Addresses)
	}
	w.row("_submissions._tcp", "SRV", "0 1 465 %s.", d.Submission)
	w.row("_submission._tcp", "SRV", "10 1 587 %s.", d.Submission)
	for _, service := range []string{"_imap", "_imaps", "_pop3", "_pop3s"} {
		w.row(service+"._tcp", "SRV", "0 0 0 .")
	}
	w.addresses("autoconfig."+d.Name, d.Addresses)
}

// isServer reports whether a host is a name server too, and has its addresses as such.
func (d Domain) isServer(host string) bool {
	for _, s := range d.NameServers {
		if s.Host == host {
			return true
		}
	}
	return false
}

type zoneWriter struct {
	origin string
	text   strings.Builder
}

func (w *zoneWriter) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format+"\n", args...)
}

func (w *zoneWriter) comment(format string, args ...any) {
	if w.text.Len() > 0 {
		w.line("")
	}
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		w.line("; %s", line)
	}
}

// row writes a record; its name is full, or one label.
func (w *zoneWriter) row(name, kind, format string, args ...any) {
	w.line("%s\t%s\t%s", w.short(name), kind, fmt.Sprintf(format, args...))
}

func (w *zoneWriter) addresses(host string, all []netip.Addr) {
	for _, a := range all {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		w.row(host, kind, "%s", a)
	}
}

func (w *zoneWriter) short(name string) string { return strings.TrimSuffix(name, "."+w.origin) }

// relative takes the origin off the owner of a record in zone text.
func (w *zoneWriter) relative(record string) string {
	owner, rest, ok := strings.Cut(record, " ")
	if tab, tail, tabbed := strings.Cut(record, "\t"); tabbed && len(tab) < len(owner) {
		owner, rest, ok = tab, tail, true
	}
	origin := dns.Canonical(w.origin)
	switch short, below := strings.CutSuffix(owner, "."+origin); {
	case !ok:
		return record
	case owner == origin:
		return "@\t" + rest
	case below:
		return short + "\t" + rest
	}
	return record
}

// quote makes a character-string of a text (RFC 1035 section 5.1). Strings of more than 255
// octets do not come here.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
