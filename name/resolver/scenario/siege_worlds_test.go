package scenario

// sieges are worlds in which "N.evil.org" is worth a question to an attacker, by what of R1 to
// R13 it is.
var sieges = map[string]string{
	"R1 forged answers": `-- zone evil.org. 1.0.3.1 --
* A 192.0.2.1
-- script 1.0.3.1 --
match *
  forge 120 both
`,
	"R2 garbage on the way": `-- zone evil.org. 1.0.3.1 --
* A 192.0.2.1
-- script 1.0.3.1 --
match *
  garbage
  garbage
  garbage
`,
	"R3 all by TCP": `-- zone evil.org. 1.0.3.1 --
* A 192.0.2.1
-- script 1.0.3.1 --
match * udp
  tc
`,
	"R4 more than was asked for": `-- zone evil.org. 1.0.3.1 --
* A 192.0.2.1
-- script 1.0.3.1 --
match *
  answer www.victim.org. 86400 A 6.6.6.6
  authority victim.org. 86400 NS ns.evil.org.
  authority org. 86400 NS ns.evil.org.
  many 60 additional n#.honest.org. 86400 A 6.6.6.6
`,
	"R4 wildcards without proof": `-- zone evil.org. 1.0.3.1 sign=nsec --
* A 192.0.2.1
-- script 1.0.3.1 --
match *.evil.org. A
  strip NSEC
`,
	"R5 ghosts": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  aa
  rcode NOERROR
  answer QNAME 0 A 192.0.2.1
  authority evil.org. 604800 NS ns1.evil.org.
  additional ns1.evil.org. 604800 A 1.0.3.1
`,
	"R6 phantom domains": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  noaa
  phantom 8
`,
	"R6 NXNSAttack": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  noaa
  many 60 authority QNAME 3600 NS n#.QNAME.victim.org.
`,
	"R6 CAMP": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  rcode NOERROR
  answer QNAME 0 CNAME x.QNAME
`,
	"R6 TsuNAME": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  noaa
  many 8 authority QNAME 3600 NS n#.y.QNAME
`,
	"R6 delegations that do not answer": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  rcode SERVFAIL
`,
	"R7 KeyTrap": `-- zone evil.org. 1.0.3.1 sign=nsec alg=p384 --
* A 192.0.2.1
-- script 1.0.3.1 --
match *.evil.org. A
  repeat 100
`,
	"R7 SigJam": `-- zone evil.org. 1.0.3.1 sign=nsec keys=8 alg=p384 sig=bad --
* A 192.0.2.1
`,
	"R8 NSEC3": `-- zone evil.org. 1.0.3.1 sign=nsec3 iterations=150 salt=aabbccdd --
a A 192.0.2.1
`,
	"R9 large answers": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match * udp
  tc
match * tcp
  clear
  aa
  rcode NOERROR
  many 250 answer QNAME 3600 A 192.0.2.1
  many 250 additional n#.QNAME 3600 A 192.0.2.1
`,
	"R10 slow servers": `-- zone evil.org. 1.0.3.1 --
* A 192.0.2.1
-- script 1.0.3.1 --
match *
  delay 2s
`,
	"R11 private addresses": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  noaa
  many 20 authority QNAME 3600 NS n#.QNAME
  many 20 additional n#.QNAME 3600 A 127.0.0.#
`,
	"R13 lame servers": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  rcode REFUSED
`,
}
