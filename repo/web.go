package repo

import (
	"context"
	"io"
	"net/http"

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
	return client.NewUploadPackSession(end, nil)
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
