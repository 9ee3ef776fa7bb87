package sasl

import (
	"context"
	"crypto"
	_ "crypto/sha256" // hashes of tls-server-end-point
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// A Lookup finds the keys of a name, and whom they belong to as "local@domain". For a name
// that is not known it returns keys that look like those of one that is, always the same
// ones, and "": so the exchange runs to its end and fails as with a wrong password.
type Lookup func(ctx context.Context, name string) (keys ScramKeys, user string, err error)

// A Binding ties an exchange to the TLS connection below it (RFC 5056), so that a man in the
// middle cannot pass it on.
type Binding struct {
	Type string // "tls-exporter" or "tls-server-end-point"
	Data []byte
}

// ExporterBinding returns the binding of RFC 9266; ok is false on a connection that has none,
// which is TLS 1.2 without extended master secret.
func ExporterBinding(state *tls.ConnectionState) (_ Binding, ok bool) {
	if !state.HandshakeComplete {
		return Binding{}, false
	}
	b, err := scram.NewTLSExporterBinding(state)
	return Binding{string(b.Type), b.Data}, err == nil
}

// EndPointBinding returns the binding of RFC 5929 section 4.1 to the certificate that the
// server showed; ok is false for a certificate whose signature has no hash of its own, as
// that of Ed25519.
func EndPointBinding(certificate *x509.Certificate) (_ Binding, ok bool) {
	var h crypto.Hash
	switch certificate.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return Binding{}, false
	}
	d := h.New()
	d.Write(certificate.Raw)
	return Binding{string(scram.ChannelBindingTLSServerEndpoint), d.Sum(nil)}, true
}

// NewScram returns the server's side of SCRAM-SHA-256, or of SCRAM-SHA-256-PLUS when plus is
// set (RFC 5802, RFC 7677). bindings are all that this connection has, best none when -PLUS
// was not offered: a client that could have bound and was told that we cannot is being
// cheated by somebody between us, and is refused (RFC 5802 section 6).
func NewScram(l Lookup, bindings []Binding, plus bool) Exchange {
	return &scramServer{lookup: l, bindings: bindings, plus: plus}
}

type scramServer struct {
	lookup   Lookup
	bindings []Binding
	plus     bool
	nonce    func() string // nil: the library's, 24 random octets

	asked bool
	conv  *scram.ServerConversation
	name  string
	found string
	user  string
}

var _ Exchange = (*scramServer)(nil)

// maxScram bounds a message of the client. The longest field is a certificate's hash.
const maxScram = 4096

func (x *scramServer) User() string { return x.user }

func (x *scramServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case response == nil && !x.asked && x.conv == nil:
		x.asked = true
		return []byte{}, false, nil
	case len(response) > maxScram:
		return nil, true, ErrSyntax
	case x.conv == nil:
		return x.first(ctx, string(response))
	case x.conv.Done():
		return nil, true, ErrSyntax
	}
	last, err := x.conv.Step(string(response))
	if err != nil || !x.conv.Valid() || x.found == "" {
		return nil, true, fmt.Errorf("%w (SCRAM, final message)", ErrDenied)
	}
	if err := checkAuthzid(x.conv.AuthzID(), x.name, x.found); err != nil {
		return nil, true, err
	}
	x.user = x.found
	return []byte(last), true, nil
}

func (x *scramServer) first(ctx context.Context, message string) ([]byte, bool, error) {
	flag, _, _ := strings.Cut(message, ",")
	kind, binds := strings.CutPrefix(flag, "p=")
	if binds != x.plus {
		return nil, true, ErrSyntax // RFC 5802 section 6: "p" goes with -PLUS, and with nothing else
	}
	var binding scram.ChannelBinding
	for i, b := range x.bindings {
		if binds && b.Type == kind || !binds && i == 0 {
			binding = scram.ChannelBinding{Type: scram.ChannelBindingType(b.Type), Data: b.Data}
		}
	}
	var trouble error
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		if name == "" || len(name) > MaxName || strings.ContainsFunc(name, isControl) {
			return scram.StoredCredentials{}, ErrSyntax
		}
		keys, user, err := x.lookup(ctx, name)
		if err != nil {
			trouble = err
			return scram.StoredCredentials{}, err
		}
		x.name, x.found = name, user
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations},
			StoredKey:  keys.StoredKey,
			ServerKey:  keys.ServerKey,
		}, nil
	})
	if err != nil {
		return nil, true, err
	}
	if x.nonce != nil {
		server.WithNonceGenerator(x.nonce)
	}
	x.conv = server.NewConversationWithChannelBinding(binding)
	challenge, err := x.conv.Step(message)
	if trouble != nil {
		return nil, true, trouble
	}
	if err != nil {
		return nil, true, ErrSyntax
	}
	return []byte(challenge), false, nil
}
