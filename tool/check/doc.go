// Package check looks at a mail domain as the world sees it, and says line by line what is
// right, what is not, why it matters and what to do.
//
// It asks the domain's own name servers and those of its parent, knocks at its mail servers,
// fetches its policies, and compares all of it with what the configuration of the machine
// says, where there is one. It changes nothing, and sends no mail: of an SMTP conversation it
// does what comes before DATA.
//
// What cannot be told now, as a server is silent or the DNS fails, is Unknown, never Wrong.
// Nothing is silent because the check did not wait: each try is made more than once.
//
// Everything outside of the package is reached through an Env, so that it can be run in a
// simulated world.
package check
