// Package resolver finds answers in the Domain Name System by itself: it walks from the root
// to the servers that know (RFC 1034 section 5.3.3), validates what they say by DNSSEC (RFC
// 4035, RFC 5155), and remembers it.
//
// What it believes: only the answer to the question that was asked, from a server of the zone
// that the question falls into. Referrals and the addresses in them are kept apart, serve to
// find servers, and are never given as answers. What it does for one question is bounded in
// every direction, see Limits. What it cannot find or validate is SERVFAIL, never a negative
// answer.
package resolver
