package resolver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// States of a key of the root (RFC 5011 section 4.2). A key that was removed is forgotten.
const (
	pending = "pending" // seen, to be trusted when it stays
	valid   = "valid"
	missing = "missing" // valid, but not seen of late
	revoked = "revoked"
)

// holdDown is how long a new key has to stay before it is trusted, and a revoked one is
// remembered (RFC 5011 section 2.4.1).
const holdDown = 30 * 24 * time.Hour

type rootKey struct {
	rr    *dns.DNSKEYRecord
	state string
	since time.Time
}

// trusted returns the digests of the keys that count.
func trusted(keys []*rootKey) []*dns.DSRecord {
	var out []*dns.DSRecord
	for _, k := range keys {
		if k.state == valid || k.state == missing {
			out = append(out, dns.DigestSHA256(k.rr))
		}
	}
	return out
}

// Run keeps the trust anchors of the root up to date in AnchorFile (RFC 5011) until ctx ends.
// Without an AnchorFile it has nothing to do but to wait.
func (r *Resolver) Run(ctx context.Context) error {
	r.start()
	for r.AnchorFile != "" {
		wait, err := r.refreshAnchors()
		if err != nil {
			r.warn("trust anchors", err)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
	<-ctx.Done()
	return nil
}

// refreshAnchors asks the root for its keys once, and returns when to ask again (RFC 5011
// section 2.3).
func (r *Resolver) refreshAnchors() (time.Duration, error) {
	keys, err := readRootKeys(r.AnchorFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return time.Hour, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.Limits.Time)
	defer cancel()
	j := &job{r: r, ctx: ctx}
	k := key{".", dns.TypeDNSKEY}
	f, err := j.walk(k, (*path)(nil).enter(k))
	if err != nil {
		return time.Hour, fmt.Errorf("the keys of the root: %w", err)
	}
	_, digests := r.anchors.over(".")
	good, _ := usable(digests)
	t := &trust{zone: "."}
	if err := j.checkKeys(f, good, t); err != nil {
		return time.Hour, err
	}
	if t.security != Secure {
		return time.Hour, fmt.Errorf("the keys of the root are bogus: %s", t.why.Text)
	}
	set, sigs := split(f.answer)
	if keys == nil {
		keys = bootstrap(set, good)
	}
	next := j.roll(keys, set, sigs)
	if err := writeRootKeys(r.AnchorFile, next); err != nil {
		return time.Hour, err
	}
	r.adopt(next)
	return again(sigs), nil
}

// bootstrap makes the first state out of the digests that were configured.
func bootstrap(set []dns.RR, digests []*dns.DSRecord) []*rootKey {
	var keys []*rootKey
	for _, rr := range set {
		k, ok := rr.(*dns.DNSKEYRecord)
		if !ok {
			continue
		}
		for _, ds := range digests {
			if dns.MatchesDS(k, ds) {
				keys = append(keys, &rootKey{k, valid, time.Now()})
				break
			}
		}
	}
	return keys
}

// roll moves every key on, by a set of keys that a trusted key has signed.
func (j *job) roll(keys []*rootKey, set []dns.RR, sigs []*dns.RRSIGRecord) []*rootKey {
	now := time.Now()
	seen := map[*rootKey]bool{}
	for _, rr := range set {
		k, ok := rr.(*dns.DNSKEYRecord)
		if !ok || k.Flags&dns.KeyEntry == 0 || k.Flags&dns.KeyZone == 0 || len(keys) > 2*maxKeys {
			continue
		}
		known := sameKey(keys, k)
		switch {
		case k.Flags&dns.KeyRevoke != 0:
			if known != nil && known.state != revoked && j.signsItself(k, set, sigs) {
				known.state, known.since = revoked, now
			}
		case known == nil:
			known = &rootKey{k, pending, now}
			keys = append(keys, known)
		case known.state == pending && now.Sub(known.since) >= holdDown:
			known.state, known.since = valid, now
		case known.state == missing:
			known.state, known.since = valid, now
		}
		seen[known] = true
	}
	var next []*rootKey
	for _, k := range keys {
		switch {
		case seen[k]:
		case k.state == pending:
			continue // begins again when it comes back
		case k.state == valid:
			k.state, k.since = missing, now
		case k.state == revoked && now.Sub(k.since) >= holdDown:
			continue
		}
		next = append(next, k)
	}
	return next
}

func sameKey(keys []*rootKey, k *dns.DNSKEYRecord) *rootKey {
	for _, have := range keys {
		if have.rr.PublicKey == k.PublicKey && have.rr.Algorithm == k.Algorithm {
			return have
		}
	}
	return nil
}

func (j *job) signsItself(k *dns.DNSKEYRecord, set []dns.RR, sigs []*dns.RRSIGRecord) bool {
	v, err := j.verify(set, sigs, &trust{zone: ".", keys: []zoneKey{{k, k.KeyTag()}}})
	return err == nil && v.security == Secure
}

// again is when to ask for the keys again.
func again(sigs []*dns.RRSIGRecord) time.Duration {
	wait := 15 * 24 * time.Hour
	now := uint32(time.Now().Unix())
	for _, sig := range sigs {
		wait = min(wait, time.Duration(sig.OrigTtl)*time.Second/2, time.Duration(int32(sig.Expiration-now))*time.Second/2)
	}
	return max(wait, time.Hour)
}

// adopt trusts what the state says, and says what changed.
func (r *Resolver) adopt(keys []*rootKey) {
	next := trusted(keys)
	if len(next) == 0 {
		r.warn("trust anchors", errors.New("every key of the root is revoked; names are not validated to be secure until new ones are configured"))
		return
	}
	_, before := r.anchors.over(".")
	r.anchors.set(".", next)
	for _, k := range keys {
		if r.Log != nil {
			r.Log.Info("resolver: key of the root", "tag", k.rr.KeyTag(), "state", k.state, "since", k.since)
		}
	}
	if len(before) != len(next) {
		r.trusts.removeIf(func(string, *trust) bool { return true })
	}
}

func (r *Resolver) loadAnchors() error {
	keys, err := readRootKeys(r.AnchorFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if next := trusted(keys); len(next) > 0 {
		r.anchors.set(".", next)
	}
	return nil
}

// readRootKeys reads lines of a DNSKEY record, ";;", a state, and the time since.
func readRootKeys(file string) ([]*rootKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var keys []*rootKey
	for line := range strings.Lines(string(text)) {
		record, note, ok := strings.Cut(strings.TrimSpace(line), ";;")
		if record == "" {
			continue
		}
		rr, err := dns.ParseRR(record)
		k, isKey := rr.(*dns.DNSKEYRecord)
		words := strings.Fields(note)
		if err != nil || !ok || !isKey || len(words) != 2 {
			return nil, fmt.Errorf("%s: want a DNSKEY record, \";;\", a state and a time: %q", file, line)
		}
		since, err := time.Parse(time.RFC3339, words[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		switch words[0] {
		case pending, valid, missing, revoked:
		default:
			return nil, fmt.Errorf("%s: unknown state %q", file, words[0])
		}
		keys = append(keys, &rootKey{k, words[0], since})
	}
	return keys, nil
}

// writeRootKeys replaces the file at once, so that it is never half written.
func writeRootKeys(file string, keys []*rootKey) error {
	var b strings.Builder
	b.WriteString(";; Trust anchors of the root, kept by RFC 5011. Written by stagecoach.\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "%s ;; %s %s\n", k.rr, k.state, k.since.UTC().Format(time.RFC3339))
	}
	if have, err := os.ReadFile(file); err == nil && string(have) == b.String() {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".anchors-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone once renamed
	_, err = f.WriteString(b.String())
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
