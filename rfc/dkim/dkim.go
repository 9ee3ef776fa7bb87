// Package dkim signs messages for a domain and verifies such signatures: DomainKeys
// Identified Mail, RFC 6376, with Ed25519 (RFC 8463), without SHA-1 and short keys (RFC 8301),
// with internationalised names (RFC 8616), and with the results of RFC 8601 section 2.7.1.
//
// Header and body are canonicalised once, whatever the number of signatures, in time and
// memory linear in their length; the body streams through.
package dkim

// A Status is the result of looking at one signature (RFC 8601 section 2.7.1).
type Status string

// The values of dkim= in an Authentication-Results field.
const (
	None      Status = "none"      // no signature
	Pass      Status = "pass"      // verified and acceptable
	Fail      Status = "fail"      // did not verify, or has expired
	Policy    Status = "policy"    // not acceptable, whether it verifies or not
	Neutral   Status = "neutral"   // its text makes no sense
	TempError Status = "temperror" // the key could not be looked up now; may be different later
	PermError Status = "permerror" // cannot be verified, also not later: no key, an unusable key
)

// A Result is what came of one signature. Fields that the signature did not tell, or told in
// a form that makes no sense, are empty; what is there is safe to print.
type Result struct {
	Status    Status
	Reason    string // a few words of ours for a comment; "" for a pass
	Domain    string // d=, canonical
	Selector  string // s=, lower case
	Identity  string // i= (the AUID), or "@" and the domain; UTF-8
	Algorithm string // a=, "rsa-sha256" or "ed25519-sha256"
	Prefix    string // the first 8 characters of b= (RFC 6008)
	Bits      int    // length of the key, once it was found
	Testing   bool   // the key says t=y: the domain is only trying
	Err       error  // what lies behind a TempError or a PermError, for the log; may be nil
}

// Canon is one of the two ways to write a header or a body before it is hashed (RFC 6376
// section 3.4).
type Canon uint8

// Relaxed tolerates changes of white space and of the case of field names, Simple none.
const (
	Relaxed Canon = iota
	Simple
)

// String returns the name of c as c= has it.
func (c Canon) String() string {
	if c == Simple {
		return "simple"
	}
	return "relaxed"
}

// Names of algorithms, as a= has them.
const (
	rsaSHA256     = "rsa-sha256"
	ed25519SHA256 = "ed25519-sha256"
)
