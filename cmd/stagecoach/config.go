package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"

	"stagecoach/mail"
)

// config is the TOML file of "serve": a table a stage. Defaults and descriptions are the
// tags of the options, so that flags and file cannot differ.
type config struct {
	identityOptions `embed:""`
	State           string `toml:"state" help:"Folder for keys and, unless named elsewhere, the queue." default:"/var/lib/stagecoach" placeholder:"DIR"`

	Users      userOptions       `toml:"users" embed:"" prefix:"users-"`
	Zones      zonesTable        `toml:"zones" embed:"" prefix:"zones-"`
	Resolver   resolverTable     `toml:"resolver" embed:"" prefix:"resolver-"`
	TLS        tlsOptions        `toml:"tls" embed:"" prefix:"tls-"`
	Cert       certOptions       `toml:"cert" embed:"" prefix:"cert-"`
	Issuer     issuerTable       `toml:"issuer" embed:"" prefix:"issuer-"`
	Submit     submitOptions     `toml:"submit" embed:"" prefix:"submit-"`
	Autoconfig autoconfigOptions `toml:"autoconfig" embed:"" prefix:"autoconfig-"`
	Verify     verifyTable       `toml:"verify" embed:"" prefix:"verify-"`
	Filter     spamOptions       `toml:"filter" embed:"" prefix:"filter-"`
	Sign       signOptions       `toml:"sign" embed:"" prefix:"sign-"`
	Forward    forwardOptions    `toml:"forward" embed:"" prefix:"forward-"`
	Queue      queueOptions      `toml:"queue" embed:"" prefix:"queue-"`
	Relay      relayOptions      `toml:"relay" embed:"" prefix:"relay-"`
	Limits     limitOptions      `toml:"limits" embed:"" prefix:"limits-"`
	Log        logOptions        `toml:"log" embed:"" prefix:"log-"`
	Metrics    string            `toml:"metrics" help:"Where to serve /metrics for Prometheus." placeholder:"HOST:PORT"`
}

type verifyTable struct {
	Listen        []string `toml:"listen" help:"Where to take mail from the world (default ${default})." default:":25" placeholder:"HOST:PORT"`
	verifyOptions `embed:""`
}

// defaultConfig returns what holds where the file says nothing.
func defaultConfig() (*config, error) {
	var c config
	p, err := kong.New(&c, kong.NoDefaultHelp())
	if err != nil {
		return nil, err
	}
	_, err = p.Parse(nil)
	return &c, err
}

// readConfig reads a file over the defaults. An unknown key, a wrong type or value is an
// error that shows the line.
func readConfig(file string) (*config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func parseConfig(text []byte) (*config, error) {
	c, err := defaultConfig()
	if err != nil {
		return nil, err
	}
	d := toml.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, explain(err)
	}
	c.primaryIsOurs()
	return c, c.check()
}

// explain makes go-toml's errors show the place in the text.
func explain(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		return fmt.Errorf("unknown key:\n%s", strict.String())
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, col := decode.Position()
		return fmt.Errorf("line %d, column %d: %s\n%s", row, col, decode.Error(), decode.String())
	}
	return err
}

func (c *config) check() error {
	return errors.Join(c.identityOptions.check(), c.Users.check(), oneOf("log.format", c.Log.Format, "text", "json"),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error", "none"))
}

func oneOf(key, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("%s = %q: write one of %s", key, value, strings.Join(allowed, ", "))
}

// check makes the domain canonical, and fills in the name.
func (o *identityOptions) check() error {
	if o.Domain == "" {
		return errors.New("domain: no domain is named")
	}
	d, err := mail.CanonicalDomain(o.Domain)
	if err != nil || strings.HasPrefix(d, "[") {
		return fmt.Errorf("domain %q: no host name", o.Domain)
	}
	o.Domain = d
	if o.Name == "" {
		o.Name = d
	}
	if o.Name, err = mail.CanonicalDomain(o.Name); err != nil {
		return fmt.Errorf("name %q: %w", o.Name, err)
	}
	if _, err := o.postmaster(); err != nil {
		return fmt.Errorf("postmaster: %w", err)
	}
	return nil
}

// postmaster returns the configured address, zero for none.
func (o *identityOptions) postmaster() (mail.Address, error) {
	if o.Postmaster == "" {
		return mail.Address{}, nil
	}
	return mail.ParseAddress(o.Postmaster)
}

func (o *userOptions) check() error {
	if o.Remote == "" {
		return errors.New("users remote: no users repository is named (-r, or remote in [users])")
	}
	return nil
}
