package check

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	"stagecoach/lab"
)

// otherCertificate has the MX hosts show another certificate, which the TLSA record names.
func (w *world) otherCertificate(c *tls.Certificate) {
	for _, ip := range []string{"192.0.2.25", "[2001:db8::25]"} {
		w.hosts[ip+":25"].cert = c
	}
	i := strings.Index(w.names, "_25._tcp")
	w.names = w.names[:i] + fmt.Sprintf("_25._tcp.mx.stage.example. TLSA 3 0 0 %X\n", c.Certificate[0])
}

// foreign issues a certificate of an authority that nobody knows.
func (w *world) foreign(name string) *tls.Certificate {
	ca, err := lab.NewCA()
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := ca.Issue(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return &c
}

// policyWithDate has the HTTPS server say another time.
func (w *world) policyWithDate(off time.Duration) {
	policy := w.policy
	w.policy = func(o http.ResponseWriter, r *http.Request) {
		o.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		policy(o, r)
	}
}
