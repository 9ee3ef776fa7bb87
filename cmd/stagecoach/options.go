package main

import "net/netip"

// The options of each stage, once: the field tags are flags and help of the single stages,
// the defaults, and the tables of the TOML file for "serve".

type identityOptions struct {
	Domain     string `toml:"domain" help:"The mail domain that is served, and with which stages introduce themselves." placeholder:"DOMAIN"`
	Name       string `toml:"name" help:"Host name for greetings, Received fields and results (default: the domain). It should be the name that the PTR record of this machine gives." placeholder:"HOST"`
	Postmaster string `toml:"postmaster" help:"Where mail to postmaster and abuse goes when no user has these names." placeholder:"ADDRESS"`
}

type userOptions struct {
	Remote           string   `toml:"remote" short:"r" help:"The users repository: a folder, a bare repository, or user@host:path#branch over SSH." placeholder:"REMOTE"`
	SSHKey           Secret   `toml:"ssh_key" name:"ssh-key" help:"Key for SSH: ed25519:BASE64, rsa:SEED, or @FILE." placeholder:"SECRET"`
	SSHAuthenticator string   `toml:"ssh_authenticator" name:"ssh-authenticator" help:"Host key of the SSH server: SHA256:FINGERPRINT, or the path of a known_hosts file." placeholder:"KEY"`
	Poll             Duration `toml:"poll" name:"poll" help:"How often to look for changes; SIGHUP looks at once." default:"1m"`
	Separator        string   `toml:"separator" help:"What begins a sub-address (ann+shop@); empty for none." default:"+"`
	Confirm          bool     `toml:"confirm" name:"confirm" help:"Forward nothing to a target that stands as unconfirmed in the repository, before somebody there has answered our mail." default:"true" negatable:""`
}

type tlsOptions struct {
	Certificate string `toml:"certificate" help:"Certificate chain in PEM; without one a self-made certificate is shown." placeholder:"FILE"`
	Key         string `toml:"key" name:"certificate-key" help:"Private key of the certificate in PEM, mode 0600." placeholder:"FILE"`
}

type limitOptions struct {
	MaxSize        Size           `toml:"max_size" help:"Largest message that is taken." default:"50M"`
	MaxRecipients  int            `toml:"max_recipients" help:"Recipients of one mail." default:"100"`
	MaxConnections int            `toml:"max_connections" help:"Connections at the same time." default:"10000"`
	PerAddress     int            `toml:"per_address" help:"Connections at the same time from one address." default:"50"`
	PerNetwork     int            `toml:"per_network" help:"Connections at the same time from one network (IPv4 /24, IPv6 /48)." default:"200"`
	Proxy          []netip.Prefix `toml:"proxy" help:"Networks of load balancers that speak the PROXY protocol; from them it is required." placeholder:"CIDR"`
}

type submitOptions struct {
	TLSListen      []string `toml:"listen_tls" name:"listen-tls" help:"Where to take mail under TLS from the first byte (default ${default})." default:":465" placeholder:"HOST:PORT"`
	StartTLSListen []string `toml:"listen_starttls" name:"listen-starttls" help:"Where to take mail with STARTTLS (default ${default})." default:":587" placeholder:"HOST:PORT"`
	PerMinute      int      `toml:"per_minute" help:"Mails a user may send in a minute." default:"60"`
	PerDay         int      `toml:"per_day" help:"Recipients a user may send to in a day." default:"500"`
	ShowClient     bool     `toml:"show_client" help:"Name the client's address in the Received field."`
}

type verifyOptions struct {
	HonourReject bool     `toml:"honour_reject" help:"Refuse mail that fails DMARC where its domain asks for that (p=reject)." default:"true" negatable:""`
	GreetDelay   Duration `toml:"greet_delay" help:"How long to wait before the greeting; who talks first is refused." default:"500ms"`
}

type signOptions struct {
	Selector   string   `toml:"selector" help:"Selector of the key in --private-key." default:"s1"`
	PrivateKey Secret   `toml:"private_key" help:"The DKIM key: @FILE with a PEM key or the reference's base64 seed." placeholder:"SECRET"`
	Keys       []string `toml:"keys" name:"dkim-key" help:"More keys, to sign with all of them: SELECTOR=FILE (PEM, mode 0600)." placeholder:"SELECTOR=FILE"`
	Fields     string   `toml:"fields" help:"Header fields to sign, as from:to:subject (default: those of RFC 6376 section 5.4, over-signed)." placeholder:"A:B:C"`
	Expire     Duration `toml:"expire" help:"How long a signature is good for; 0 for ever." default:"0s"`
	Seal       bool     `toml:"seal" help:"Seal forwarded mail with ARC." default:"true" negatable:""`

	DNSKey     Secret `toml:"dns_key" name:"dns-key" help:"Key that may write the DKIM records of the zone: NAME:ALGORITHM:BASE64, or @FILE with that in it. With it the records are published, and a key signs only once its record is served." placeholder:"SECRET"`
	DNSServer  string `toml:"dns_server" name:"dns-server" help:"Address of the zone's primary name server." placeholder:"IP"`
	DNSPort    int    `toml:"dns_port" name:"dns-port" help:"Port of --dns-server." default:"53"`
	Everywhere bool   `toml:"everywhere" name:"dns-everywhere" help:"Have a new key wait until every name server of the zone serves its record (asked on the port of --dns-server)."`
}

type forwardOptions struct {
	Key Secret `toml:"key" name:"srs-key" help:"Key of return addresses and loop marks (default: made and kept in the spool)." placeholder:"SECRET"`
}

type queueOptions struct {
	Spool       string   `toml:"spool" help:"Folder of the queue; it must be on a disk that keeps what it synced." placeholder:"DIR"`
	RetryFirst  Duration `toml:"retry_first" help:"Wait after the first failed attempt." default:"5m"`
	RetryMax    Duration `toml:"retry_max" help:"Longest wait between attempts." default:"4h"`
	Life        Duration `toml:"life" help:"How long to try before the sender gets the mail back." default:"5d"`
	DelayNotice Duration `toml:"delay_notice" help:"When to tell the sender that we still try; 0 for never." default:"4h"`
	Concurrency int      `toml:"concurrency" help:"Deliveries at the same time." default:"200"`
	AuthServID  string   `toml:"authserv_id" name:"authserv-id" help:"Name of the verifier whose Authentication-Results are believed (default: our name)." placeholder:"HOST"`
	PerDomain   int      `toml:"per_domain" help:"Deliveries at the same time to one domain." default:"20"`
}

type relayOptions struct {
	Nameserver    []string     `toml:"nameserver" help:"Where to ask for names: udp:IP[:PORT], tcp:IP[:PORT] or tls:IP[:PORT][!NAME] (default: this machine's resolver)." placeholder:"NS"`
	Route         []string     `toml:"route" help:"Where mail for a domain goes instead of its MX: DOMAIN=HOST:PORT, '*' for all others." placeholder:"DOMAIN=HOST:PORT"`
	Port          int          `toml:"port" name:"mx-port" help:"Port of the world's mail servers." default:"25"`
	Source        []netip.Addr `toml:"source" help:"Addresses to connect from, one of IPv4 and one of IPv6." placeholder:"IP"`
	NoIPv6        bool         `toml:"no_ipv6" name:"no-ipv6" help:"Do not deliver over IPv6."`
	AllowLoopback bool         `toml:"allow_loopback" help:"Deliver to mail servers on loopback and private addresses, for tests."`
}

type innerOptions struct {
	Listen     []string       `name:"listen" help:"Where to take mail from the stage before: HOST:PORT or unix:PATH (default ${default})." default:":25" placeholder:"HOST:PORT"`
	From       []netip.Prefix `name:"from" help:"Networks that may hand in mail, besides loopback and unix sockets." placeholder:"CIDR"`
	AcceptData bool           `name:"accept-data" help:"Take DATA too, not only BDAT, from programs that are no stage of ours."`
}

type runOptions struct {
	Log     logOptions   `embed:""`
	Metrics string       `help:"Where to serve /metrics for Prometheus." placeholder:"HOST:PORT"`
	IPv4    netip.Prefix `name:"ipv4" help:"Address and network of this service, as in the articles: where it listens if no other address is given, and from where other stages and clients may come." placeholder:"IP/BITS"`
	Gateway netip.Addr   `name:"ipv4-gateway" hidden:"" help:"Taken, as in the articles, and of no effect: the machine has its routes already."`
}
