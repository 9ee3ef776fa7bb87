package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	our "stagecoach/mail"
	"stagecoach/tool/check"
)

// defaultConfigFile is where "serve" looks.
const defaultConfigFile = "/etc/stagecoach.toml"

// configure takes what the configuration says into t. It returns nil where there is none, or
// none of this domain: then the check knows no more than the world does.
func (c checkCmd) configure(t *check.Target) *config {
	file := c.Config
	if file == "" {
		if _, err := os.Stat(defaultConfigFile); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		file = defaultConfigFile
	}
	cfg, err := readConfig(file)
	if err != nil {
		if strings.Contains(err.Error(), fs.ErrPermission.Error()) { // of a secret: the TOML reader keeps the text alone
			err = fmt.Errorf("%w; run the check as root, or as the user of the service: %v", fs.ErrPermission, err)
		}
		t.ConfigFile, t.ConfigErr = file, err
		return nil
	}
	if t.Domain == "" {
		t.Domain = cfg.Domain
	}
	if domain, err := our.CanonicalDomain(t.Domain); c.Config == "" && (err != nil || domain != cfg.Domain) {
		return nil
	}
	t.ConfigFile, t.State, t.Here = file, cfg.State, true
	t.Name, t.Addresses = cfg.Name, cfg.Relay.Source
	t.Keys, t.KeysErr = checkKeys(cfg)
	for _, entry := range cfg.Sign.Keys {
		if _, name, ok := strings.Cut(entry, "="); ok {
			t.Private = append(t.Private, name)
		}
	}
	if !cfg.Issuer.DNSKey.IsZero() && (cfg.Issuer.Directory == "" || strings.Contains(cfg.Issuer.Directory, "letsencrypt.org")) {
		t.CA = "letsencrypt.org"
	}
	return cfg
}

// checkKeys reads the keys that the service signs with. It makes none.
func checkKeys(cfg *config) ([]check.Key, error) {
	keys, err := signingKeys(cfg.Sign, "")
	for _, kind := range []string{"rsa", "ed25519"} {
		name := filepath.Join(cfg.State, "dkim-"+kind+".pem")
		if _, missing := os.Stat(name); len(cfg.Sign.Keys) > 0 || !cfg.Sign.PrivateKey.IsZero() || errors.Is(missing, fs.ErrNotExist) {
			continue
		}
		k, bad := namedKey(cfg.Sign.Selector + "-" + kind + "=" + name)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		keys = append(keys, k)
	}
	var out []check.Key
	for _, k := range keys {
		out = append(out, check.Key{Selector: k.Selector, Public: k.Private.Public()})
	}
	return out, err
}
