package dns

import (
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// The parts of a message.
type (
	Msg      = dns.Msg
	Header   = dns.RR_Header
	RR       = dns.RR
	Question = dns.Question
	EDNS     = dns.OPT
)

// The records that this house has to look into. Those that it only carries are RRs.
type (
	ARecord          = dns.A
	AAAARecord       = dns.AAAA
	ANYRecord        = dns.ANY
	CAARecord        = dns.CAA
	CDNSKEYRecord    = dns.CDNSKEY
	CDSRecord        = dns.CDS
	CNAMERecord      = dns.CNAME
	DNAMERecord      = dns.DNAME
	DNSKEYRecord     = dns.DNSKEY
	DSRecord         = dns.DS
	HINFORecord      = dns.HINFO
	HTTPSRecord      = dns.HTTPS
	MXRecord         = dns.MX
	NSECRecord       = dns.NSEC
	NSEC3Record      = dns.NSEC3
	NSEC3PARAMRecord = dns.NSEC3PARAM
	NSRecord         = dns.NS
	PTRRecord        = dns.PTR
	RRSIGRecord      = dns.RRSIG
	SOARecord        = dns.SOA
	SRVRecord        = dns.SRV
	SSHFPRecord      = dns.SSHFP
	SVCBRecord       = dns.SVCB
	TLSARecord       = dns.TLSA
	TSIGRecord       = dns.TSIG
	TXTRecord        = dns.TXT
	UnknownRecord    = dns.RFC3597
)

// Types of records and of queries.
const (
	TypeNone       = dns.TypeNone
	TypeA          = dns.TypeA
	TypeAAAA       = dns.TypeAAAA
	TypeANY        = dns.TypeANY
	TypeAXFR       = dns.TypeAXFR
	TypeCAA        = dns.TypeCAA
	TypeCDNSKEY    = dns.TypeCDNSKEY
	TypeCDS        = dns.TypeCDS
	TypeCNAME      = dns.TypeCNAME
	TypeDNAME      = dns.TypeDNAME
	TypeDNSKEY     = dns.TypeDNSKEY
	TypeDS         = dns.TypeDS
	TypeHINFO      = dns.TypeHINFO
	TypeHTTPS      = dns.TypeHTTPS
	TypeIXFR       = dns.TypeIXFR
	TypeLOC        = dns.TypeLOC
	TypeMX         = dns.TypeMX
	TypeNS         = dns.TypeNS
	TypeNSEC       = dns.TypeNSEC
	TypeNSEC3      = dns.TypeNSEC3
	TypeNSEC3PARAM = dns.TypeNSEC3PARAM
	TypeOPT        = dns.TypeOPT
	TypePTR        = dns.TypePTR
	TypeRRSIG      = dns.TypeRRSIG
	TypeSOA        = dns.TypeSOA
	TypeSRV        = dns.TypeSRV
	TypeSSHFP      = dns.TypeSSHFP
	TypeSVCB       = dns.TypeSVCB
	TypeTLSA       = dns.TypeTLSA
	TypeTSIG       = dns.TypeTSIG
	TypeTXT        = dns.TypeTXT
)

// Classes (RFC 1035 section 3.2.4, RFC 2136 section 1.3).
const (
	ClassINET = dns.ClassINET
	ClassNONE = dns.ClassNONE
	ClassANY  = dns.ClassANY
)

// Kinds of message (RFC 1035 section 4.1.1, RFC 1996, RFC 2136).
const (
	OpcodeQuery  = dns.OpcodeQuery
	OpcodeNotify = dns.OpcodeNotify
	OpcodeUpdate = dns.OpcodeUpdate
)

// Response codes, those of TSIG (RFC 8945 section 3) last.
const (
	RcodeSuccess        = dns.RcodeSuccess
	RcodeFormatError    = dns.RcodeFormatError
	RcodeServerFailure  = dns.RcodeServerFailure
	RcodeNameError      = dns.RcodeNameError
	RcodeNotImplemented = dns.RcodeNotImplemented
	RcodeRefused        = dns.RcodeRefused
	RcodeYXDomain       = dns.RcodeYXDomain
	RcodeYXRrset        = dns.RcodeYXRrset
	RcodeNXRrset        = dns.RcodeNXRrset
	RcodeNotAuth        = dns.RcodeNotAuth
	RcodeNotZone        = dns.RcodeNotZone
	RcodeBadVers        = dns.RcodeBadVers
	RcodeBadSig         = dns.RcodeBadSig
	RcodeBadKey         = dns.RcodeBadKey
	RcodeBadTime        = dns.RcodeBadTime
	RcodeBadTrunc       = dns.RcodeBadTrunc
	RcodeBadCookie      = dns.RcodeBadCookie
)

// UDPSize is the largest datagram that we ask for and send: what fits an Ethernet with IPv6
// without fragments, as the DNS flag day of 2020 settled it.
const UDPSize = 1232

// NewQuery returns a question for one type at name, in class IN, with a random ID, recursion
// desired, EDNS with UDPSize, and the AD bit set, by which a validating resolver tells whether
// the answer is secure (RFC 6840 section 5.7). A final dot need not be there.
func NewQuery(name string, t uint16) *Msg {
	q := new(Msg)
	q.SetQuestion(Canonical(name), t)
	q.AuthenticatedData = true
	q.SetEdns0(UDPSize, false)
	return q
}

// NewResponse returns a response to q with the given response code and nothing in it.
func NewResponse(q *Msg, rcode int) *Msg {
	r := new(Msg)
	r.SetReply(q)
	r.Rcode = rcode
	return r
}

// Canonical returns a name in lower case with its final dot; "" is the root. Only A to Z
// change (RFC 4343); escapes come in one spelling.
func Canonical(name string) string {
	if strings.IndexByte(name, '\\') >= 0 {
		name = spelled(name)
	}
	return dns.CanonicalName(name)
}

// spelled returns a name with escapes in the one spelling that names from the wire have.
func spelled(name string) string {
	var buf [256]byte
	if _, err := dns.PackDomainName(dns.Fqdn(name), buf[:], 0, nil, false); err != nil {
		return name
	}
	same, _, err := dns.UnpackDomainName(buf[:], 0)
	if err != nil {
		return name
	}
	return same
}

// Host returns a name as mail writes it: in lower case, without its final dot. The root is "".
func Host(name string) string {
	return strings.TrimSuffix(dns.CanonicalName(name), ".")
}

// IsSubdomain reports whether name is parent or lies below it.
func IsSubdomain(parent, name string) bool {
	return dns.IsSubDomain(Canonical(parent), Canonical(name))
}

// IsName reports whether s is a domain name that fits the wire: labels of 1 to 63 octets, 255
// octets in all (RFC 1035 section 2.3.4).
func IsName(s string) bool {
	_, ok := dns.IsDomainName(s)
	return ok
}

// Labels returns the labels of a name, the leftmost first, escapes untouched. The root has none.
func Labels(name string) []string { return dns.SplitDomainName(name) }

// TypeName returns the mnemonic of a type, or TYPEnnn (RFC 3597 section 5).
func TypeName(t uint16) string { return dns.Type(t).String() }

// ParseType reads what TypeName writes, in any case.
func ParseType(s string) (uint16, bool) {
	s = strings.ToUpper(s)
	if t, ok := dns.StringToType[s]; ok {
		return t, true
	}
	return parseTypeNumber(s)
}

// RcodeName returns the mnemonic of a response code, or RCODEnnn.
func RcodeName(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(rcode)
}

func reverseName(ip string) (string, error) { return dns.ReverseAddr(ip) }

// UnescapeLabel returns a label of a name as octets.
func UnescapeLabel(label string) []byte { return []byte(unescape(label)) }

// HashName returns the label by which NSEC3 knows a name: in lower case, "" for an algorithm
// that is not known (RFC 5155 section 5).
func HashName(name string, algorithm uint8, iterations uint16, salt string) string {
	return strings.ToLower(dns.HashName(Canonical(name), algorithm, iterations, salt))
}
