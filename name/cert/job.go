package cert

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// A job is what is to be done for one host: to find out when to renew, to order, to publish.
// It is in work once at a time.
type job struct {
	watch   *watch
	host    string
	shelf   *shelf
	request *request
	memory  *memory
}

// inZone returns the certificate in the zone that is good, nil for none.
func (j *job) inZone(now time.Time) *x509.Certificate {
	leaves := 0
	for _, rr := range j.shelf.records {
		if kindOf(rr) == kindLeaf {
			leaves++
		}
	}
	chain, _ := j.shelf.best(j.request, now)
	if chain == nil || leaves > 1 { // several make reference issuers and clients stop
		return nil
	}
	return chain[0]
}

// kept returns the certificate that we remember, if it is good and need not be renewed yet.
func (j *job) kept(now time.Time) []*x509.Certificate {
	if j.memory.Request != j.request.id() {
		return nil
	}
	chain := j.memory.chain()
	if chain == nil || j.request.fits(chain[0], now) != "" || !renewal(chain[0], j.memory.Window).After(now) {
		return nil
	}
	return chain
}

// due returns when there is something to do.
func (j *job) due(now time.Time) time.Time {
	m := j.memory
	m.about(j.request)
	if len(m.Challenges) > 0 && m.Order == "" {
		return later(now, m.Next) // left behind
	}
	if c := j.inZone(now); c != nil {
		at := renewal(c, m.Window)
		if !at.After(now) {
			at = j.permitted(now)
			if j.kept(now) != nil {
				return now
			}
		}
		if ask := j.askAgain(c); ask.Before(at) {
			return ask
		}
		return at
	}
	if j.kept(now) != nil {
		return later(now, m.Next) // where it was the UPDATE that failed
	}
	return j.permitted(now)
}

func (j *job) permitted(now time.Time) time.Time {
	if j.memory.resumed {
		return now
	}
	at := later(later(now, j.memory.Next), j.memory.permitted(now))
	return later(at, j.watch.issuer.server.notBefore())
}

// askAgain returns when the authority is to be asked when it would have c renewed.
func (j *job) askAgain(c *x509.Certificate) time.Time {
	if w := j.memory.Window; w.Serial == c.SerialNumber.Text(16) {
		return w.Again
	}
	return time.Time{}
}

func (j *job) report(now time.Time) {
	s := Status{Host: j.host, Failures: j.memory.Tries, Error: j.memory.Error}
	if c := j.inZone(now); c != nil {
		s.NotAfter, s.Renewal = c.NotAfter, renewal(c, j.memory.Window)
	}
	if at := j.permitted(now); at.After(now) {
		s.Next = at
	}
	j.watch.issuer.report(s)
}

// longestJob bounds an order with all its waiting.
const longestJob = 30 * time.Minute

// run does what is due. What went wrong is remembered, in the log and in the status.
func (j *job) run(ctx context.Context) {
	i := j.watch.issuer
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(ctx, longestJob)
	defer cancel()
	m := j.memory
	tries := m.Tries
	err := j.work(ctx)
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // we are stopped; the next start goes on
	}
	if err == nil {
		return
	}
	ordered := m.Tries != tries || m.Order != "" // whoever orders has counted it
	if m.Tries == tries {
		m.Tries++
	}
	m.Error = err.Error()
	m.Next = later(m.Next, i.now().Add(failurePause(m.Tries, ordered)))
	if saveErr := m.save(); saveErr != nil {
		err = errors.Join(err, saveErr)
	}
	i.Log.Warn("issuer: no certificate", "host", j.host, "err", err, "failures", m.Tries, "next", m.Next)
	j.report(i.now())
}

func (j *job) work(ctx context.Context) error {
	i, m := j.watch.issuer, j.memory
	if len(m.Challenges) > 0 && m.Order == "" {
		if err := j.cleanUp(ctx); err != nil {
			return err
		}
	}
	now := i.now()
	old := j.inZone(now)
	if old != nil && !j.askAgain(old).After(now) {
		m.Window = i.server.window(ctx, old, m.Window)
		if err := m.save(); err != nil {
			return err
		}
		j.report(now)
	}
	if old != nil && renewal(old, m.Window).After(now) {
		return nil
	}
	if chain := j.kept(now); chain != nil {
		return j.publish(ctx, chain)
	}
	if at := j.permitted(now); at.After(now) {
		return nil
	}
	chain, err := j.order(ctx, old)
	if err != nil {
		return err
	}
	return j.publish(ctx, chain)
}

// order gets a certificate and remembers it, so that it is not lost whatever happens next.
func (j *job) order(ctx context.Context, old *x509.Certificate) ([]*x509.Certificate, error) {
	i, m := j.watch.issuer, j.memory
	m.resumed = false
	chain, err := i.server.obtain(ctx, j, old)
	if err != nil {
		return nil, err
	}
	if problem := j.request.fits(chain[0], i.now()); problem != "" {
		return nil, errors.New("the authority sent something else: " + problem)
	}
	var text strings.Builder
	for _, c := range chain {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) //nolint:errcheck // into memory
	}
	m.Chain, m.Order, m.Tries, m.Error, m.Next = text.String(), "", 0, "", time.Time{}
	m.Issued = append(m.Issued, i.now())
	if err := m.save(); err != nil {
		return nil, err
	}
	i.Log.Info("issuer: certificate issued", "host", j.host, "names", strings.Join(j.request.names, " "), "until", chain[0].NotAfter)
	return chain, nil
}

// rereadPause keeps a primary that does not show what it took from being asked without end.
const rereadPause = 2 * time.Second

// publish writes a certificate and those above it beside the request, and removes others. Where
// the records are no longer those that we know, the zone is read again and the certificate is
// published, or not, as the request then wants it.
func (j *job) publish(ctx context.Context, chain []*x509.Certificate) error {
	s := j.shelf
	m := dns.NewUpdate(j.watch.zone)
	s.unchanged(m)
	want := map[string]bool{}
	var come []dns.RR
	for n, c := range chain {
		k := kindChain
		if n == 0 {
			k = kindLeaf
		}
		rr := record(s.owner, k, c.Raw)
		if !want[rr.String()] {
			want[rr.String()] = true
			come = append(come, rr)
		}
	}
	for _, rr := range s.records {
		k := kindOf(rr)
		if k != kindLeaf && k != kindChain {
			continue
		}
		same := dns.Copy(rr).(*dns.TLSARecord)
		same.Hdr.Ttl, same.Hdr.Name, same.Certificate = ttl, s.owner, strings.ToLower(rr.Certificate)
		if !want[same.String()] {
			m.Remove([]dns.RR{dns.Copy(rr)})
		}
	}
	m.Insert(come)
	err := dns.Do(ctx, j.watch.issuer.Primary, m)
	var code dns.RcodeError
	if errors.As(err, &code) && (int(code) == dns.RcodeNXRrset || int(code) == dns.RcodeYXRrset) {
		j.watch.issuer.Log.Info("issuer: the records have changed meanwhile, they are read again", "host", j.host)
		j.memory.Next = later(j.memory.Next, j.watch.issuer.now().Add(rereadPause))
		return nil
	}
	if err != nil {
		return fmt.Errorf("publishing the certificate: %w", err)
	}
	mem := j.memory
	mem.Tries, mem.Error, mem.Next = 0, "", time.Time{}
	if err := mem.save(); err != nil {
		return err
	}
	mem.Next = j.watch.issuer.now().Add(rereadPause) // for the zone to show it
	return nil
}
