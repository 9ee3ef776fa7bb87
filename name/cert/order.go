package cert

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// A ca is the ACME server (RFC 8555) as an Issuer sees it.
type ca struct {
	issuer *Issuer
	http   *http.Client

	registering sync.Mutex
	account     acme.Account

	mu    sync.Mutex
	until time.Time // it has asked not to be asked before
}

// A visit is one business with the server. The client lives no longer: it never reads the
// directory again, and nonces grow stale.
type visit struct {
	ca      *ca
	client  *acme.Client
	account acme.Account
}

// What a response of an ACME server may have, and how often an order is looked at.
const (
	maxResponse = 1 << 20
	pollOrder   = time.Second
	maxOrder    = 10 * time.Minute
)

func newCA(i *Issuer) *ca {
	a := &ca{issuer: i}
	base := http.DefaultClient
	if i.HTTP != nil {
		base = i.HTTP
	}
	c := *base
	c.Transport = &listener{ca: a, next: c.Transport}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	a.http = &c
	return a
}

func (a *ca) visit() *visit {
	return &visit{ca: a, client: &acme.Client{
		Directory: a.issuer.Directory, HTTPClient: a.http, UserAgent: "stagecoach", PollInterval: pollOrder, PollTimeout: maxOrder,
	}}
}

// reach sees that the server is there at all, before an order is counted.
func (a *ca) reach(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.issuer.Directory, nil)
	if err != nil {
		return err
	}
	resp, err := a.http.Do(r)
	if err != nil {
		return fmt.Errorf("the authority cannot be reached: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the authority says %s", resp.Status)
	}
	return nil
}

// A listener bounds responses and hears when the server wants to be left alone.
type listener struct {
	ca   *ca
	next http.RoundTripper
}

func (l *listener) RoundTrip(r *http.Request) (*http.Response, error) {
	next := l.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		l.ca.heed(resp.Header.Get("Retry-After"))
	}
	resp.Body = &limited{io.LimitReader(resp.Body, maxResponse), resp.Body}
	return resp, nil
}

type limited struct {
	io.Reader
	io.Closer
}

// heed remembers a Retry-After (RFC 9110 section 10.2.3), of no more than a week.
func (a *ca) heed(after string) {
	now := a.issuer.now()
	at, err := http.ParseTime(after)
	if seconds, e := strconv.ParseUint(after, 10, 31); e == nil {
		at, err = now.Add(time.Duration(seconds)*time.Second), nil
	}
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if limit := now.Add(week); at.After(limit) {
		at = limit
	}
	a.until = later(a.until, at)
}

func (a *ca) notBefore() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.until
}

// register returns the account, registered.
func (v *visit) register(ctx context.Context) (acme.Account, error) {
	a := v.ca
	a.registering.Lock()
	defer a.registering.Unlock()
	if a.account.Location != "" {
		return a.account, nil
	}
	o := a.issuer.Account
	asked := acme.Account{TermsOfServiceAgreed: true, PrivateKey: o.Key}
	if o.Email != "" {
		asked.Contact = []string{"mailto:" + o.Email}
	}
	if o.KeyID != "" {
		if err := asked.SetExternalAccountBinding(ctx, v.client, acme.EAB{KeyID: o.KeyID, MACKey: o.MACKey}); err != nil {
			return asked, fmt.Errorf("binding the account: %w", err)
		}
	}
	got, err := v.client.NewAccount(ctx, asked)
	if err != nil {
		return got, fmt.Errorf("registering the account: %w", err)
	}
	if got.Status != acme.StatusValid {
		return got, fmt.Errorf("the account is %s", cmp.Or(got.Status, "in no known state"))
	}
	if !slices.Equal(got.Contact, asked.Contact) && o.Email != "" {
		changed := got
		changed.Contact = asked.Contact
		if changed, err = v.client.UpdateAccount(ctx, changed); err != nil {
			a.issuer.Log.Warn("issuer: the address of the account could not be changed", "err", err)
		} else {
			changed.Location = got.Location
			got = changed
		}
	}
	a.account = got
	a.issuer.Log.Info("issuer: account", "url", got.Location, "directory", a.issuer.Directory)
	return got, nil
}

// obtain orders a certificate for the request of a job and returns it, leaf first. old is the
// one that it replaces, nil for none.
func (a *ca) obtain(ctx context.Context, j *job, old *x509.Certificate) ([]*x509.Certificate, error) {
	v := a.visit()
	err := a.reach(ctx)
	if err == nil {
		v.account, err = v.register(ctx)
	}
	if err != nil {
		return nil, err
	}
	order, err := v.open(ctx, j, old)
	if err != nil {
		return nil, a.lost(err)
	}
	chain, err := v.fulfil(ctx, j, order)
	if err != nil && ctx.Err() == nil && isFinal(err) {
		j.memory.Order = "" // it is over; the next try makes another
	}
	return chain, a.lost(err)
}

// errOver is an order that came to a bad end.
var errOver = errors.New("the order failed")

// isFinal reports whether trying the same order again cannot help.
func isFinal(err error) bool {
	var p acme.Problem
	return errors.Is(err, errOver) || errors.As(err, &p) && p.Status/100 == 4 && p.Type != acme.ProblemTypeRateLimited
}

// lost forgets the account where the server does not know it any more.
func (a *ca) lost(err error) error {
	var p acme.Problem
	if errors.As(err, &p) && p.Type == acme.ProblemTypeAccountDoesNotExist {
		a.registering.Lock()
		a.account = acme.Account{}
		a.registering.Unlock()
	}
	return err
}

// open takes up the order that is remembered, or makes one and remembers that, before and
// after: so whenever we are killed, no restart makes another before its time.
func (v *visit) open(ctx context.Context, j *job, old *x509.Certificate) (acme.Order, error) {
	m, i := j.memory, v.ca.issuer
	if m.Order != "" {
		order, err := v.client.GetOrder(ctx, v.account, acme.Order{Location: m.Order})
		order.Location = m.Order
		if err == nil && order.Status != acme.StatusInvalid {
			return order, nil
		}
		if err != nil && !isFinal(err) {
			return order, fmt.Errorf("taking up the order: %w", err)
		}
		m.Order = ""
	}
	now := i.now()
	if at := j.permitted(now); at.After(now) { // it was an order to be taken up that brought us here
		return acme.Order{}, fmt.Errorf("the order before the restart failed; the next one may be made at %s", at.Format(time.RFC3339))
	}
	m.Tries++
	m.Next = now.Add(failurePause(m.Tries, true))
	m.Error = "an order was begun and did not end"
	m.Orders = append(m.Orders, now)
	if err := m.save(); err != nil {
		return acme.Order{}, err
	}
	asked := acme.Order{}
	for _, name := range j.request.names {
		asked.Identifiers = append(asked.Identifiers, acme.Identifier{Type: "dns", Value: name})
	}
	order, err := v.newOrder(ctx, asked, old)
	if err != nil {
		return order, fmt.Errorf("ordering: %w", err)
	}
	m.Order = order.Location
	return order, m.save()
}

// newOrder says which certificate is replaced (RFC 9773 section 5), and leaves that out where
// the server does not like it.
func (v *visit) newOrder(ctx context.Context, asked acme.Order, old *x509.Certificate) (acme.Order, error) {
	dir, err := v.client.GetDirectory(ctx)
	if err != nil {
		return asked, err
	}
	if old != nil && dir.RenewalInfo != "" && len(old.AuthorityKeyId) > 0 {
		with := asked
		if with.Replaces, err = acme.ARIUniqueIdentifier(old); err == nil {
			order, err := v.client.NewOrder(ctx, v.account, with)
			var p acme.Problem
			if err == nil || !errors.As(err, &p) || p.Status/100 != 4 || p.Type == acme.ProblemTypeRateLimited {
				return order, err
			}
		}
	}
	return v.client.NewOrder(ctx, v.account, asked)
}

// fulfil takes an order from wherever it is to its certificate.
func (v *visit) fulfil(ctx context.Context, j *job, order acme.Order) ([]*x509.Certificate, error) {
	var err error
	if order.Status == acme.StatusPending {
		if err := v.prove(ctx, j, order); err != nil {
			return nil, err
		}
		location := order.Location
		if order, err = v.client.GetOrder(ctx, v.account, order); err != nil {
			return nil, fmt.Errorf("looking at the order: %w", err)
		}
		order.Location = location
	}
	switch order.Status {
	case acme.StatusValid:
	case acme.StatusInvalid:
		return nil, fmt.Errorf("%w: %w", errOver, problemOf(order))
	default: // FinalizeOrder takes one in processing up, too
		if order, err = v.client.FinalizeOrder(ctx, v.account, order, j.request.der); err != nil {
			return nil, fmt.Errorf("finishing the order: %w", err)
		}
	}
	chains, err := v.client.GetCertificateChain(ctx, v.account, order.Certificate)
	if err != nil {
		return nil, fmt.Errorf("fetching the certificate: %w", err)
	}
	return parseChain(chains[0].ChainPEM)
}

func problemOf(o acme.Order) error {
	if o.Error == nil {
		return errors.New("the authority gave no reason")
	}
	return *o.Error
}

// window asks when the authority would have a certificate renewed (RFC 9773 section 4). Our
// time within its window is chosen once.
func (a *ca) window(ctx context.Context, c *x509.Certificate, before window) window {
	now := a.issuer.now()
	w := window{Serial: c.SerialNumber.Text(16), Again: now.Add(longest)}
	if before.Serial == w.Serial {
		w = before
		w.Again = now.Add(6 * time.Hour)
	}
	if len(c.AuthorityKeyId) == 0 || c.Subject.String() == c.Issuer.String() {
		return w
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	info, err := a.visit().client.GetRenewalInfo(ctx, c)
	if err != nil || !info.SuggestedWindow.End.After(info.SuggestedWindow.Start) {
		return w // without it the life of the certificate counts
	}
	w.Again = now.Add(6 * time.Hour) // RFC 9773 section 4.3 for servers that do not say
	if info.RetryAfter != nil {
		w.Again = later(now.Add(time.Minute), *info.RetryAfter)
		if limit := now.Add(longest); w.Again.After(limit) {
			w.Again = limit
		}
	}
	start, end := info.SuggestedWindow.Start, info.SuggestedWindow.End
	if !start.Equal(w.Start) || !end.Equal(w.End) {
		w.Start, w.End = start, end
		w.At = start.Add(rand.N(end.Sub(start)))
		if info.ExplanationURL != "" {
			a.issuer.Log.Info("issuer: the authority explains when to renew", "url", info.ExplanationURL)
		}
	}
	return w
}
