package setup

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultState is the folder of the service unless its configuration names another.
const DefaultState = "/var/lib/stagecoach"

// A Service says how a machine serves a domain.
type Service struct {
	State      string           // folder, an absolute path
	Postmaster string           // who gets mail to postmaster and abuse; "" for nobody in particular
	Listen     []netip.AddrPort // where the name server answers; none for everywhere
	Source     []netip.Addr     // to connect from, where the machine has a choice
	NoIPv6     bool             // the machine has IPv6, but not for mail
	NoWeb      bool             // port 443 is somebody else's
	Staging    bool             // certificates come from the authority's test system
}

// The places in the state folder, as "serve" has them.
func (s Service) Zones() string   { return filepath.Join(s.State, "zones.git") }
func (s Service) Users() string   { return filepath.Join(s.State, "users.git") }
func (s Service) Account() string { return filepath.Join(s.State, "issuer", "account.key") }
func (s Service) DNSSEC() string  { return filepath.Join(s.State, "primary", "dnssec") }
func (s Service) Return() string  { return filepath.Join(s.State, "srs.key") }

// Key returns the file of a role's key for the name server.
func (s Service) Key(role string) string { return filepath.Join(s.State, "keys", role+".key") }

// DKIM returns the file of the key that signs mail: of the kind rsa or ed25519.
func (s Service) DKIM(kind string) string { return filepath.Join(s.State, "dkim-"+kind+".pem") }

// Config returns the configuration of "serve": what differs from the defaults, and no secret.
func (d Domain) Config(s Service) string {
	w := &tomlWriter{}
	w.line(`# Made by "stagecoach init". "stagecoach serve --sample" has every setting, with its meaning and default.`)
	w.set("domain", d.Name)
	w.set("name", d.MX)
	if s.Postmaster != "" {
		w.set("postmaster", s.Postmaster)
	}
	if s.State != DefaultState {
		w.set("state", s.State)
	}
	w.table("users")
	w.set("remote", s.Users())
	w.table("zones")
	w.set("remote", s.Zones())
	if len(s.Listen) > 0 {
		w.set("listen", texts(s.Listen))
	}
	w.table("cert")
	w.set("dns_key", "@"+s.Key(RoleCert))
	w.set("names", slices.DeleteFunc(d.Hosts(), func(h string) bool { return h == d.MX }))
	w.set("dane", true)
	w.table("issuer")
	w.set("dns_key", "@"+s.Key(RoleIssuer))
	if !s.Staging {
		w.set("production", true)
	}
	w.set("email", "postmaster@"+d.Name)
	w.table("sign")
	w.set("dns_key", "@"+s.Key(RoleSigner))
	w.table("autoconfig")
	if !s.NoWeb {
		w.set("listen", []string{":443"})
	}
	w.set("server", d.Submission)
	if len(s.Source) > 0 || s.NoIPv6 {
		w.table("relay")
	}
	if len(s.Source) > 0 {
		w.set("source", texts(s.Source))
	}
	if s.NoIPv6 {
		w.set("no_ipv6", true)
	}
	return w.text.String()
}

func texts[T fmt.Stringer](all []T) []string {
	var out []string
	for _, one := range all {
		out = append(out, one.String())
	}
	return out
}

type tomlWriter struct{ text strings.Builder }

func (w *tomlWriter) line(format string, args ...any) { fmt.Fprintf(&w.text, format+"\n", args...) }
func (w *tomlWriter) table(name string)               { w.line("\n[%s]", name) }

// set writes a key: a text, a truth, or a list of texts.
func (w *tomlWriter) set(key string, value any) {
	switch v := value.(type) {
	case string:
		w.line("%s = %s", key, basic(v))
	case []string:
		var quoted []string
		for _, one := range v {
			quoted = append(quoted, basic(one))
		}
		w.line("%s = [%s]", key, strings.Join(quoted, ", "))
	default:
		w.line("%s = %v", key, v)
	}
}

// basic writes a basic string of TOML.
func basic(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
