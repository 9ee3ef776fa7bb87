package setup

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"

	"stagecoach/rfc/dns"
)

// The roles of the keys for the name server: each stage has one, with the least rights.
const (
	RoleCert     = "cert"     // writes the request for a certificate, and DANE records
	RoleIssuer   = "issuer"   // writes certificates and the challenges for them
	RoleSigner   = "signer"   // writes the keys that mail is signed with
	RoleOperator = "operator" // writes everything: for people with nsupdate
	RoleTransfer = "transfer" // reads the whole zone: for a secondary
	RoleNotify   = "notify"   // says that the zone has changed: for the hook of the repository
)

// Roles are all roles, in the order of the files.
func Roles() []string {
	return []string{RoleCert, RoleIssuer, RoleSigner, RoleOperator, RoleTransfer, RoleNotify}
}

// NewKey makes the key of a role. Its name says what it may do (see authority.Keys).
func (d Domain) NewKey(role string) dns.Key {
	secret := make([]byte, 32)
	rand.Read(secret) //nolint:errcheck // it does not fail
	return dns.Key{Name: dns.Canonical(d.keyName(role)), Algorithm: dns.HMACSHA256, Secret: secret}
}

func (d Domain) keyName(role string) string {
	switch role {
	case RoleTransfer:
		if from, to, ok := d.transfer(); ok {
			return fmt.Sprintf("%s.%s._transfer.%s", from, to, d.Name) // it is told of changes
		}
		return "secondary._transfer." + d.Name
	case RoleNotify:
		return "hook._notify." + d.Name
	}
	return role + "._update." + d.Name
}

// transfer returns the addresses that the name of the key for one secondary can have.
func (d Domain) transfer() (from, to netip.Addr, ok bool) {
	n := 0
	for _, s := range d.NameServers {
		if !s.Elsewhere {
			continue
		}
		n++
		for _, a := range s.Addresses {
			if a.Is4() {
				to = a
				break
			}
		}
	}
	return d.Addresses[0], to, n == 1 && to.IsValid() && d.Addresses[0].Is4()
}

// KeyFile returns the file of keys of the zone, by role.
func (d Domain) KeyFile(keys map[string]dns.Key) string {
	var b strings.Builder
	fmt.Fprintf(&b, "; Keys for the zone %s. Who can read this file can use them.\n", d.Name)
	for _, role := range Roles() {
		b.WriteString(strings.TrimRight(keys[role].Record(), "\n") + "\n")
	}
	return b.String()
}

// Grants returns what the keys may write; the operator's has no line, and may write all.
func (d Domain) Grants() string {
	var owners []string
	for _, host := range d.Hosts() {
		owners = append(owners, "_letsencrypt._tcp."+d.short(host))
	}
	owners = append(owners, "_25._tcp."+d.short(d.MX))
	var b strings.Builder
	fmt.Fprintf(&b, "; What keys may write in %s: key, types, names. A key without a line may write everything.\n", d.Name)
	for _, g := range [][3]string{
		{RoleCert, "TLSA", strings.Join(owners, ",")},
		{RoleIssuer, "TLSA,TXT", "_letsencrypt._tcp,_letsencrypt._tcp.*,_acme-challenge,_acme-challenge.*"},
		{RoleSigner, "TXT", "*._domainkey"},
	} {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", d.keyName(g[0]), g[1], g[2])
	}
	return b.String()
}

func (d Domain) short(host string) string { return strings.TrimSuffix(host, "."+d.Name) }

// Files are the files of the zone repository that are the domain's.
func (d Domain) Files(zone string, keys map[string]dns.Key) map[string][]byte {
	return map[string][]byte{
		d.Name:              []byte(zone),
		d.Name + "._keys":   []byte(d.KeyFile(keys)),
		d.Name + "._grants": []byte(d.Grants()),
	}
}
