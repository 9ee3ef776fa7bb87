package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// A stream speaks git's pack protocol, version 0, over a connection. The one in go-git has
// no deadline in its SSH handshake, so that a silent server would hold a caller for ever.
type stream struct {
	in    io.Writer
	out   io.Reader
	fault func() string // what the far end said of its failure, "" for nothing
	close func() error
}

func (s *stream) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	offered := packp.NewAdvRefs()
	err := offered.Decode(s.out)
	if errors.Is(err, packp.ErrEmptyAdvRefs) || err == nil && offered.IsEmpty() {
		return nil, transport.ErrEmptyRemoteRepository
	}
	if err != nil {
		if said := s.fault(); said != "" {
			return nil, fmt.Errorf("the server says %q", said)
		}
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(offered.Capabilities)
	return offered, nil
}

func (s *stream) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := req.UploadRequest.Encode(s.in); err != nil {
		return nil, err
	}
	if err := pktline.NewEncoder(s.in).EncodeString("done\n"); err != nil {
		return nil, err
	}
	resp := packp.NewUploadPackResponse(req)
	if err := resp.Decode(io.NopCloser(s.out)); err != nil {
		return nil, err
	}
	return resp, nil
}

// ReceivePack sends a pack and reads what the server did with it.
func (s *stream) ReceivePack(_ context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	if !req.Capabilities.Supports(capability.ReportStatus) {
		return nil, errors.New("the server does not tell what it did")
	}
	err := req.Encode(s.in)
	report := packp.NewReportStatus()
	if err == nil {
		err = report.Decode(s.out)
	}
	if err != nil {
		if said := s.fault(); said != "" {
			return nil, fmt.Errorf("the server says %q", said)
		}
		return nil, err
	}
	return report, nil
}

func (s *stream) Close() error { return s.close() }

// dialTCP connects, and lets the end of the context end every read and write.
func dialTCP(ctx context.Context, address string) (conn net.Conn, release func(), err error) {
	var d net.Dialer
	conn, err = d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { stop(); conn.Close() }, nil
}

// daemon is git's own protocol.
type daemon struct{ at location }

const daemonPort = 9418

func (d daemon) dial(ctx context.Context, service string, limit int64) (session, error) {
	conn, release, err := dialTCP(ctx, d.at.hostPort(daemonPort))
	if err != nil {
		return nil, err
	}
	host := d.at.host
	if d.at.port != 0 {
		host = d.at.hostPort(0)
	}
	hello := packp.GitProtoRequest{RequestCommand: service, Pathname: d.at.path, Host: host}
	if err := hello.Encode(conn); err != nil {
		release()
		return nil, err
	}
	return &stream{
		in: conn, out: bounded(conn, limit),
		fault: func() string { return "" },
		close: func() error { release(); return nil },
	}, nil
}

// bounded ends a stream that brings much more than a pack of the limit.
func bounded(r io.Reader, limit int64) io.Reader {
	const lists = 16 << 20 // for the list of references
	return io.LimitReader(r, limit+lists)
}
