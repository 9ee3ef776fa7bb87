package main

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"stagecoach/mail"
)

// autoconfigOptions are about the small HTTPS server for mail programs and mail servers.
type autoconfigOptions struct {
	Listen []string `toml:"listen" name:"listen" help:"Where to answer HTTPS with the settings for mail programs (autoconfig.DOMAIN) and the MTA-STS policy (mta-sts.DOMAIN). Usual is :443; without one there is no such server." placeholder:"HOST:PORT"`
	Server string   `toml:"server" help:"Host name of the submission server, as mail programs are to use it (default: the name)." placeholder:"HOST"`
	IMAP   string   `toml:"imap" name:"imap" help:"Where all users read their mail under TLS, with their address as user name, if it is one place. Thunderbird sets up accounts of itself only with this." placeholder:"HOST:PORT"`
	STS    string   `toml:"mta_sts" name:"mta-sts" help:"Mode of the MTA-STS policy: ${enum}. Change the record's id when you change this." enum:"testing,enforce,none" default:"testing"`
	MX     []string `toml:"mx" name:"mx" help:"Hosts that the policy allows as MX (default: the name)." placeholder:"HOST"`
	Age    Duration `toml:"max_age" name:"max-age" help:"How long senders keep the policy." default:"7d"`
}

// The limits of the HTTPS server. What it says fits into one packet; who needs longer to ask for it
// is no mail program.
const (
	webTimeout    = 10 * time.Second
	webHeader     = 8 << 10
	webAtOnce     = 200
	webPerAddress = 20
)

// check reads the options; the server needs no names when it does not listen.
func (o *autoconfigOptions) check() error {
	if err := oneOf("autoconfig.mta_sts", cmp.Or(o.STS, "testing"), "testing", "enforce", "none"); err != nil {
		return err
	}
	for _, host := range o.MX {
		if _, err := mail.CanonicalDomain(strings.TrimPrefix(host, "*.")); err != nil {
			return fmt.Errorf("autoconfig.mx %q: %w", host, err)
		}
	}
	if age := time.Duration(o.Age); age > 31557600*time.Second { // RFC 8461 section 3.2
		return errors.New("autoconfig.max_age is a year at the most")
	}
	if o.IMAP != "" {
		if _, _, err := net.SplitHostPort(o.IMAP); err != nil {
			return fmt.Errorf("autoconfig.imap: %w", err)
		}
	}
	return nil
}

// webNames returns the names that a certificate for the HTTPS server needs, for one domain. The
// domain's own name often belongs to a web server elsewhere.
func (o *autoconfigOptions) webNames(domain string) []string {
	if len(o.Listen) == 0 {
		return nil
	}
	return []string{"autoconfig." + domain, "mta-sts." + domain}
}

// autoconfig opens the HTTPS server. domains are those that are hosted, at any moment.
func (p *process) autoconfig(id identityOptions, o autoconfigOptions, s submitOptions, cert *certificate, domains func() []string) error {
	if err := o.check(); err != nil || len(o.Listen) == 0 {
		return err
	}
	server := &http.Server{
		Handler:           autoconfigHandler{id, o, s, domains},
		TLSConfig:         cert.Config(),
		ReadHeaderTimeout: webTimeout, ReadTimeout: webTimeout, WriteTimeout: webTimeout, IdleTimeout: webTimeout,
		MaxHeaderBytes: webHeader,
		ErrorLog:       slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		Protocols:      new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	for _, address := range o.Listen {
		l, err := listen(p.front, address)
		if err != nil {
			return err
		}
		p.log.Info("listening", "listener", "autoconfig", "address", l.Addr().String())
		p.servers.Go(func() {
			err := server.ServeTLS(newBounded(l, webAtOnce, webPerAddress), "", "")
			if !errors.Is(err, http.ErrServerClosed) {
				p.ended("autoconfig", err)
			}
		})
	}
	context.AfterFunc(p.front, func() { server.Close() })
	return nil
}

// autoconfigHandler answers by the name that was asked for, so that one address serves every
// domain.
type autoconfigHandler struct {
	id      identityOptions
	o       autoconfigOptions
	submit  submitOptions
	domains func() []string
}

// The paths.
const (
	pathAutoconfig = "/mail/config-v1.1.xml"
	pathWellKnown  = "/.well-known/autoconfig/mail/config-v1.1.xml"
	pathSTS        = "/.well-known/mta-sts.txt"
)

// ServeHTTP answers the questions of RFC 8461 section 3.3 and of draft-ietf-mailmaint-autoconfig.
func (h autoconfigHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	kind, text := h.answer(webHost(r.Host), r.URL.Path)
	if text == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	if r.Method == http.MethodGet {
		w.Write([]byte(text)) //nolint:errcheck // the client is gone
	}
}

// webHost takes port, final dot and case from a Host field.
func webHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func (h autoconfigHandler) answer(host, path string) (kind, text string) {
	for _, d := range h.domains() {
		switch {
		case path == pathSTS && host == "mta-sts."+d:
			return "text/plain; charset=utf-8", h.policy()
		case path == pathAutoconfig && host == "autoconfig."+d, path == pathWellKnown && (host == d || host == "autoconfig."+d):
			text, err := h.settings(d)
			if err != nil {
				return "", ""
			}
			return "text/xml; charset=utf-8", text
		}
	}
	return "", ""
}

// policy is the text of RFC 8461 section 3.2.
func (h autoconfigHandler) policy() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\r\nmode: %s\r\n", cmp.Or(h.o.STS, "testing"))
	hosts := h.o.MX
	if len(hosts) == 0 {
		hosts = []string{h.id.Name}
	}
	for _, host := range hosts {
		fmt.Fprintf(&b, "mx: %s\r\n", host)
	}
	fmt.Fprintf(&b, "max_age: %d\r\n", int64(time.Duration(h.o.Age).Seconds()))
	return b.String()
}

// clientConfig is the format that Thunderbird reads.
type clientConfig struct {
	XMLName  xml.Name `xml:"clientConfig"`
	Version  string   `xml:"version,attr"`
	Provider struct {
		ID       string         `xml:"id,attr"`
		Domain   string         `xml:"domain"`
		Name     string         `xml:"displayName"`
		Short    string         `xml:"displayShortName"`
		Incoming []clientServer `xml:"incomingServer"`
		Outgoing []clientServer `xml:"outgoingServer"`
	} `xml:"emailProvider"`
}

type clientServer struct {
	Type     string `xml:"type,attr"`
	Host     string `xml:"hostname"`
	Port     string `xml:"port"`
	Security string `xml:"socketType"`
	Auth     string `xml:"authentication"`
	User     string `xml:"username"`
}

// settings is the file for one domain.
func (h autoconfigHandler) settings(domain string) (string, error) {
	c := clientConfig{Version: "1.1"}
	p := &c.Provider
	p.ID, p.Domain, p.Name, p.Short = domain, domain, "Mail of "+domain, domain
	server := func(kind, host, port, security string) clientServer {
		return clientServer{kind, host, port, security, "password-cleartext", "%EMAILADDRESS%"}
	}
	if host, port, err := net.SplitHostPort(h.o.IMAP); err == nil {
		p.Incoming = append(p.Incoming, server("imap", host, port, "SSL"))
	}
	host := cmp.Or(h.o.Server, h.id.Name)
	implicit, startTLS := h.submit.ports()
	if implicit != "" {
		p.Outgoing = append(p.Outgoing, server("smtp", host, implicit, "SSL"))
	}
	if startTLS != "" {
		p.Outgoing = append(p.Outgoing, server("smtp", host, startTLS, "STARTTLS"))
	}
	text, err := xml.MarshalIndent(c, "", "  ")
	return xml.Header + string(text) + "\n", err
}
