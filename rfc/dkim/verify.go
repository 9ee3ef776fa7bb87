package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
)

// Options of Verify. Zero values mean the defaults.
type Options struct {
	Now           time.Time // for x=; default: the clock
	MaxSignatures int       // looked at, from the top; default 10
	MinBits       int       // of an RSA key; default and least 1024 (RFC 8301 section 3.2)
}

// maxBits is the largest RSA key that we spend time on.
const maxBits = 4096

// Verify looks at the signatures of a message from the top, and returns one result each, or a
// single None when there is none. Those beyond the limit are not looked at and have no result.
//
// Keys are looked up at the same time, one look-up a key. Trouble with the DNS, the end of ctx
// and a body that cannot be read are a TempError. The header is taken as it stands, so Verify
// comes before anything is prepended that a signature might cover.
func Verify(ctx context.Context, m *mail.Message, x dns.Exchanger, o Options) []Result {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.MaxSignatures <= 0 {
		o.MaxSignatures = 10
	}
	o.MinBits = max(o.MinBits, 1024)

	v := verification{options: o, set: newFieldSet(&m.Header)}
	v.readSignatures()
	if len(v.jobs) == 0 {
		return []Result{{Status: None}}
	}
	v.gather(ctx, m, x)
	results := make([]Result, len(v.jobs))
	for i, j := range v.jobs {
		if j.result.Status == "" {
			v.check(j)
		}
		results[i] = j.result
	}
	return results
}

// A verification is one run of Verify.
type verification struct {
	options Options
	set     *fieldSet
	jobs    []*job
	keys    map[string]*found // by name of the record
	sums    [2]bodySum
	bodyErr error
}

// A job is one signature on its way to a result; a result with a Status is final.
type job struct {
	at     int // index of the field in the set
	sig    *signature
	result Result
}

func (j *job) end(s Status, reason string, err error) {
	j.result.Status, j.result.Reason, j.result.Err = s, reason, err
}

// readSignatures parses, and judges what can be judged without a key.
func (v *verification) readSignatures() {
	for _, at := range v.set.byName["dkim-signature"] {
		if len(v.jobs) == v.options.MaxSignatures {
			return
		}
		sig, err := parseSignature(v.set.fields[at].Body())
		j := &job{at: at, sig: sig, result: Result{
			Domain: sig.domain, Selector: sig.selector, Identity: sig.identity,
			Prefix: printable(sig.prefix),
		}}
		v.jobs = append(v.jobs, j)
		if err != nil {
			j.end(Neutral, "the signature is malformed", err)
			continue
		}
		if knownAlgorithm(sig.algorithm) {
			j.result.Algorithm = sig.algorithm
		}
		v.judge(j)
	}
}

func knownAlgorithm(a string) bool {
	return a == rsaSHA256 || a == ed25519SHA256 || a == "rsa-sha1"
}

func (v *verification) judge(j *job) {
	switch s := j.sig; {
	case s.algorithm == "rsa-sha1":
		j.end(PermError, "SHA-1 proves nothing", nil) // RFC 8301 section 3.1
	case s.algorithm != rsaSHA256 && s.algorithm != ed25519SHA256:
		j.end(PermError, "unknown algorithm", nil)
	case !s.dns:
		j.end(PermError, "the key is not in the DNS", nil)
	case !slices.Contains(s.fields, "from"):
		j.end(PermError, "From is not signed", nil) // RFC 6376 section 5.4
	case v.set.count("from") != 1:
		// Which of them the reader sees is anybody's guess (RFC 6376 section 8.15).
		j.end(Policy, "the message has not exactly one From", nil)
	case s.expires >= 0 && v.options.Now.Unix() > s.expires:
		j.end(Fail, "the signature has expired", nil)
	}
}

// gather gets the keys and the body hashes that the open jobs need, at the same time.
func (v *verification) gather(ctx context.Context, m *mail.Message, x dns.Exchanger) {
	v.keys = map[string]*found{}
	var wanted [2]bool
	var wait sync.WaitGroup
	for _, j := range v.jobs {
		if j.result.Status != "" {
			continue
		}
		wanted[j.sig.body] = true
		name := RecordName(j.sig.selector, j.sig.domain)
		if v.keys[name] == nil {
			f := new(found)
			v.keys[name] = f
			wait.Go(func() { *f = fetch(ctx, x, j.sig.selector, j.sig.domain) })
		}
	}
	if len(v.keys) > 0 {
		v.sums, v.bodyErr = sumBody(m, wanted)
	}
	wait.Wait()
}

// check brings a job to its end, now that keys and body hashes are there.
func (v *verification) check(j *job) {
	f := v.keys[RecordName(j.sig.selector, j.sig.domain)]
	switch {
	case v.bodyErr != nil:
		j.end(TempError, "the message could not be read", v.bodyErr)
	case isTemporary(f.err):
		j.end(TempError, "the key could not be looked up", f.err)
	case dns.IsNegative(f.err):
		j.end(PermError, "there is no key", f.err)
	case errors.Is(f.err, ErrRevoked):
		j.end(PermError, "the key is revoked", f.err)
	case f.err != nil:
		j.end(PermError, "the key is malformed or not for mail", f.err)
	default:
		if v.checkBody(j); j.result.Status == "" {
			v.checkHeader(j, f.keys)
		}
	}
}

func (v *verification) checkBody(j *job) {
	sum := v.sums[j.sig.body]
	switch {
	case j.sig.length >= 0 && j.sig.length < sum.size:
		// Anybody may have added the rest, so the hash of that part is not worth computing.
		j.end(Policy, "only the beginning of the body is signed", nil)
	case j.sig.length > sum.size:
		j.end(Fail, "the body is shorter than what was signed", nil)
	case !bytes.Equal(sum.digest, j.sig.digest):
		j.end(Fail, "the body was changed", nil)
	}
}

// checkHeader tries the keys. The first one whose owner means it for this signature and that
// verifies it decides; else the first one names the trouble.
func (v *verification) checkHeader(j *job, keys []*PublicKey) {
	digest := v.headerHash(j)
	for i, k := range keys {
		why := k.usable(j.sig, v.options.MinBits)
		good := why == "" && k.verify(digest, j.sig.value)
		if good || i == 0 {
			j.result.Bits, j.result.Testing = k.Bits(), k.Testing
		}
		switch {
		case good:
			j.end(Pass, "", nil)
			return
		case why == "": // a usable key that says no weighs more than an unusable one
			j.end(Fail, "the signature does not verify", nil)
		case j.result.Status == "":
			j.end(PermError, why, nil)
		}
	}
}

// headerHash hashes the signed fields and the signature without its b= (RFC 6376 section 3.7).
func (v *verification) headerHash(j *job) []byte {
	h := sha256.New()
	for _, at := range v.set.choose(j.sig.fields, j.at) {
		h.Write(v.set.form(j.sig.header, at))
	}
	h.Write(unsigned(j.sig.header, v.set.fields[j.at], j.sig.bTag))
	return h.Sum(nil)
}

// unsigned returns the canonical form of a signature field with an empty b= and without the
// last CRLF.
func unsigned(c Canon, f mail.Field, b tag) []byte {
	body := f.Body()
	body = body[:b.start] + body[b.end:]
	if c == Simple {
		raw := f.Raw()
		return append([]byte(raw[:strings.IndexByte(raw, ':')+1]), body...)
	}
	return appendRelaxed(append([]byte(lowerName(f.Name())), ':'), body)
}

// printable drops what base64 has not.
func printable(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return ""
		}
	}
	return s
}
