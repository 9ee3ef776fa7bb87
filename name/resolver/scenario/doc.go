// Package scenario tests a resolver against a small Internet that is written down in one file:
// zones, servers that misbehave, and what is asked and expected, in simulated time. The files
// are txtar archives, each named after the rule that it holds a resolver to.
//
//	A comment says which rule, and where it stands.
//	-- zone example. 1.2.3.4 sign=nsec --
//	www A 192.0.2.1
//	-- script 1.2.3.4 --
//	match www.example. A udp times=1
//	  timeout
//	-- config --
//	nta broken.example.
//	-- steps --
//	ask www.example. A
//	expect NOERROR ad
//	has www.example. A 192.0.2.1
//
// A zone is served at the addresses after its name, and options follow: sign=nsec, nsec3 or
// optout; alg=ed25519, rsa, rsa512, p256 or p384; time=expired or future; sig=bad; valid=48h
// for signatures that are not renewed; ds=none, wrong, digest or algorithm for what the zone
// above says of it; iterations and salt; keys, how many; glue=none. What is not said is made:
// the root at 1.0.0.1, signed; SOA and NS records; delegations, with glue and DS.
package scenario
