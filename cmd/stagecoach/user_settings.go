package main

import (
	"net"
	"strings"

	"stagecoach/mail"
)

// ports returns on which ports our users hand in mail: under TLS, and with STARTTLS; "" for
// none.
func (o submitOptions) ports() (implicit, startTLS string) {
	first := func(list []string) string {
		for _, address := range list {
			if _, port, err := net.SplitHostPort(address); err == nil {
				return port
			}
		}
		return ""
	}
	return first(o.TLSListen), first(o.StartTLSListen)
}

// clientSettings says what to type into mail programs, to send as a user of ours. Where he reads
// his mail does not change.
func clientSettings(e *usersEditor, a mail.Address) string {
	implicit, startTLS := e.facts.Submit.ports()
	var ways []string
	if implicit != "" {
		ways = append(ways, "port "+implicit+" with SSL/TLS")
	}
	if startTLS != "" {
		ways = append(ways, "port "+startTLS+" with STARTTLS")
	}
	port, security := implicit, "SSL/TLS"
	if port == "" {
		port, security = startTLS, "STARTTLS"
	}
	return strings.NewReplacer("{server}", e.server, "{ways}", strings.Join(ways, ", or "), "{port}", port,
		"{security}", security, "{address}", a.String()).Replace(settingsText)
}

const settingsText = `To send as {address}

  Server     {server}
  Connection {ways}
  User name  {address}
  Password   the one that was shown when it was made

Gmail, in a browser
  Settings > See all settings > Accounts and Import > Send mail as > Add another email address
  Email address {address}, keep "Treat as an alias"
  SMTP Server {server}, Port {port}, Username {address}, the password, "Secured connection" ({security})
  Gmail mails a code to {address}; it comes to where your mail goes.

Thunderbird
  Settings > Account Settings > Outgoing Server (SMTP) > Add
  Server Name {server}, Port {port}, Connection security {security},
  Authentication method "Normal password", User Name {address}
  Then, at the account in which you read your mail: Manage Identities > Add
  Email Address {address}, Outgoing Server {server}

Apple Mail
  Mail > Settings > Accounts > the account in which you read your mail
  Account Information > Email Address > Edit Email Addresses > + {address}
  Server Settings > Outgoing Mail Account > Edit SMTP Server List > +
  Host Name {server}, Port {port}, Use TLS/SSL, Authentication "Password", User Name {address}
`
