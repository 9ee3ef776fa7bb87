package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/name/publish"
	"stagecoach/rfc/dns"
	"stagecoach/stage/sign"
)

// firstKeys is how long the start waits for the keys to be published. Mail that comes before they
// are is not lost: its sender keeps it.
const firstKeys = 5 * time.Second

func (o signOptions) publishes() bool { return !o.DNSKey.IsZero() || o.DNSServer != "" }

// publishKeys has the signer's keys written into the zone, and signs only with those that are
// there. file remembers which are, "" for nowhere; ask finds name servers outside of the zone.
func (p *process) publishKeys(s *sign.Signer, o signOptions, file string, ask dns.Exchanger) error {
	if !o.publishes() {
		return nil
	}
	o.DNSKey.warn(p.log, "--dns-key")
	server, zone, err := primary(o.DNSServer, o.DNSPort, o.DNSKey)
	if err != nil {
		return err
	}
	k := &publish.Keys{Writer: publish.Writer{Server: server, Key: server.Key.Name}, Zone: zone, File: file, Log: p.log}
	if o.Everywhere {
		k.Servers = &publish.Servers{Primary: server, Resolver: ask, Port: server.Servers[0].Addr.Port(), Log: p.log}
	}
	for _, domain := range slices.Sorted(maps.Keys(s.Keys)) {
		for _, key := range s.Keys[domain] {
			k.Keys = append(k.Keys, publish.Key{Selector: key.Selector, Domain: domain, Public: key.Private.Public()})
		}
	}
	if err := k.Load(); err != nil {
		return err
	}
	s.Published = k.Ready
	p.reg.MustRegister(keyMetrics{k})
	p.behind("DKIM records", k.Run)
	p.hangup("DKIM records", func(context.Context) error { k.Wake(); return nil })
	ctx, cancel := context.WithTimeout(p.front, firstKeys)
	defer cancel()
	if err := k.Wait(ctx); err != nil {
		p.log.Warn("mail that a key would sign which is not published is refused for now", "err", err)
	}
	return nil
}

// keyMetrics show under /metrics which keys are published.
type keyMetrics struct{ keys *publish.Keys }

func (keyMetrics) desc() *prometheus.Desc {
	return prometheus.NewDesc("stagecoach_dkim_published", "Whether a DKIM key was served, and may sign.", []string{"record"}, nil)
}

// Describe names the metric.
func (m keyMetrics) Describe(to chan<- *prometheus.Desc) { to <- m.desc() }

// Collect reads it.
func (m keyMetrics) Collect(to chan<- prometheus.Metric) {
	for _, s := range m.keys.Status() {
		v := 0.0
		if s.Ready {
			v = 1
		}
		to <- prometheus.MustNewConstMetric(m.desc(), prometheus.GaugeValue, v, s.Name)
	}
}

// writerAt returns what changes records at a name server, for commands.
func writerAt(server string, key Secret) (publish.Writer, error) {
	if key.IsZero() {
		return publish.Writer{}, errors.New("no key is given")
	}
	k, err := dns.ParseKey(key.Text())
	if err != nil {
		return publish.Writer{}, err
	}
	at, err := dns.ParseAddrPort(server, 53)
	if err != nil {
		return publish.Writer{}, fmt.Errorf("%q is no name server: %w", server, err)
	}
	return publish.Writer{Server: publish.Server(at, k), Key: k.Name}, nil
}
