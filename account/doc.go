// Package account knows who lives here: the users of our domains, their addresses and
// secrets, read from files that are kept under version (package repo).
//
// # The files
//
// A file is a user. At the top lie the users of the main domain; a folder that is named like
// a domain holds the users of that domain. The name of a file is the local part of an
// address as it stands before the @, quoted where the grammar asks for it. Its content is
// one JSON object:
//
//	{
//	  "targets":   ["ann@gmail.example"],   where mail to the user goes; may be empty or absent
//	  "password":  "$argon2id$…",           see below; absent: the user cannot log in
//	  "aliases":   ["info", "ann@other.example"],
//	  "catch_all": true,                    gets what nobody else in the domain gets
//	  "separator": "-",                     of sub-addresses (ann-lists); "" switches them off
//	  "disabled":  true,                    no login, no mail; the addresses stay taken
//	  "insecure":  false                    read, and without meaning
//	}
//
// The first two and the last are the format of the OCaml system, whose repositories can be used as
// they are. An alias without @ is in the user's own domain; one with @ is in any domain that
// is hosted here. A file named "@domain", which no local part can be, holds what goes for
// the whole domain of its folder:
//
//	{ "separator": "+", "postmaster": "ann@their.example" }
//
// Names that begin with a dot, README, README.md, README.txt and LICENSE are passed over.
// Everything else that is not understood is an error with file, line and key: an unknown or
// repeated key, a value of a wrong kind, a bad address, an address that two files claim, a
// target in a domain of ours that nobody has. All errors are found, and none is half applied.
//
// # Unconfirmed targets
//
// A folder ".unconfirmed" names targets to which nothing goes before somebody there has agreed:
// its file of the same path as the user's (".unconfirmed/ann", ".unconfirmed/their.example/bob")
// has one target a line. So the user's file stays as it is, and other readers pass over the
// folder. A target that does not stand there is confirmed, and so is every one in a domain of
// ours, since whoever writes the files decides on these.
//
// # Addresses
//
// Local parts have no case. An address belongs to the file that names it, as user or alias;
// else to the user whose name or alias stands before a separator, the longest such name
// first; else, for postmaster and abuse, to the postmaster of the domain (RFC 5321 section
// 4.5.1, RFC 2142); else to the user who has the catch-all.
//
// # Passwords
//
// A password is kept as argon2id in PHC form, as SCRAM-SHA-256 keys, or as the BLAKE2b-512
// hex digits of the OCaml system, which is weak: it has no salt and is fast to guess.
// For argon2id and BLAKE2b the octets count as the client sent them, which is UTF-8 with all
// clients in use; SCRAM prepares them by SASLprep (RFC 4013) on both sides.
package account
