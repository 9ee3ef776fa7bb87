package repo

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// web is git over HTTP or HTTPS.
type web struct{ at location }

func (w web) dial(_ context.Context, service string, limit int64) (session, error) {
	end, err := transport.NewEndpoint(w.at.url(true))
	if err != nil {
		return nil, err
	}
	client := githttp.NewClient(&http.Client{Transport: boundedTrip{http.DefaultTransport, limit}})
	if service == transport.ReceivePackServiceName {
		push, err := client.NewReceivePackSession(end, nil)
		return webPush{push}, err
	}
	return client.NewUploadPackSession(end, nil)
}

// webPush is a session that only pushes.
type webPush struct{ transport.ReceivePackSession }

func (webPush) UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	return nil, errors.New("this session only pushes")
}

// A boundedTrip limits the length of every answer.
type boundedTrip struct {
	next  http.RoundTripper
	limit int64
}

func (t boundedTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bounded(resp.Body, t.limit), resp.Body}
	return resp, nil
}
