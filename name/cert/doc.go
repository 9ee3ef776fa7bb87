// Package cert gets certificates (RFC 5280) for names of a zone over that zone alone. Who wants
// one writes a certificate signing request into the DNS and waits: that is a Keeper. An
// Issuer, the only one to speak ACME (RFC 8555), follows the zone, proves by dns-01 that it
// may, and writes the certificate beside the request.
//
// The records stand at _letsencrypt._tcp.HOST, of type TLSA with values that DANE (RFC 6698)
// does not use: "3 255 0" for the request, "3 0 0" for the certificate, "0 0 0" for those
// above it, all in DER. They hold nothing secret, and servers and clients of the MirageOS
// system dns-certify understand them.
package cert
