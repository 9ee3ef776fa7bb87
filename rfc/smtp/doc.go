// Package smtp speaks SMTP (RFC 5321), both sides of it, strictly: a Server turns
// conversations into mails, a NextHop turns mails into conversations.
//
// Extensions: PIPELINING (RFC 2920), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), SIZE
// (RFC 1870), CHUNKING and BINARYMIME (RFC 3030), DSN (RFC 3461), ENHANCEDSTATUSCODES
// (RFC 2034), STARTTLS (RFC 3207), AUTH (RFC 4954), REQUIRETLS (RFC 8689) and LIMITS
// (RFC 9422).
//
// A line ends with CRLF and with nothing else. What breaks that rule is refused, never
// repaired, and the connection ends, so that no two programs can see two different mails in
// the same octets.
package smtp
