// Package authority answers for the zones of a git repository (RFC 1034, RFC 2308, RFC 4592),
// turns signed UPDATEs into commits (RFC 2136, RFC 8945), and hands zones to secondaries (RFC
// 5936, RFC 1995, RFC 1996).
//
// A file of the repository is a zone, named as the file is without a final dot. A file whose
// last label is _keys holds keys; one whose last label is _grants says what keys may write.
// See Keys and Grants.
package authority
