package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
)

// A Client speaks to the control socket of a queue that runs.
type Client struct {
	Socket string // ControlSocket of the spool
}

// List yields the entries that a filter selects, as they come; it keeps none.
func (c *Client) List(ctx context.Context, f Filter) iter.Seq2[Item, error] {
	return stream[Item](ctx, c, "/list", f)
}

// Show yields the entries of one letter with their details; none if there is no such letter.
func (c *Client) Show(ctx context.Context, id ID) iter.Seq2[Details, error] {
	return stream[Details](ctx, c, "/show", map[string]ID{"id": id})
}

// Do does something with the entries that a filter selects; with dry it only counts them.
func (c *Client) Do(ctx context.Context, action Action, f Filter, dry bool) (Result, error) {
	return one[Result](ctx, c, http.MethodPost, "/do", Request{action, f, dry})
}

// Stats returns a snapshot of the queue.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	return one[Stats](ctx, c, http.MethodGet, "/stats", nil)
}

// call sends one request. The caller closes the body and calls done.
func (c *Client) call(ctx context.Context, method, path string, v any) (body io.ReadCloser, done func(), err error) {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
	}}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://queue"+path, bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	a, err := t.RoundTrip(r)
	if err != nil {
		return nil, nil, fmt.Errorf("queue: the service does not answer: %w", err)
	}
	done = func() { a.Body.Close(); t.CloseIdleConnections() }
	if a.StatusCode != http.StatusOK {
		defer done()
		var f failure
		if err := json.NewDecoder(a.Body).Decode(&f); err != nil || f.Failed == "" {
			return nil, nil, fmt.Errorf("queue: the service answers %s", a.Status)
		}
		return nil, nil, errors.New(f.Failed)
	}
	return a.Body, done, nil
}

func one[T any](ctx context.Context, c *Client, method, path string, v any) (out T, err error) {
	body, done, err := c.call(ctx, method, path, v)
	if err != nil {
		return out, err
	}
	defer done()
	return out, json.NewDecoder(body).Decode(&out)
}

func stream[T any](ctx context.Context, c *Client, path string, v any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		body, done, err := c.call(ctx, http.MethodPost, path, v)
		if err != nil {
			yield(zero, err)
			return
		}
		defer done()
		for d := json.NewDecoder(body); ; {
			var line struct {
				Value T
				failure
			}
			var raw json.RawMessage
			err := d.Decode(&raw)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = json.Unmarshal(raw, &line.failure)
			}
			if err == nil && line.Failed != "" {
				err = errors.New(line.Failed)
			}
			if err == nil {
				err = json.Unmarshal(raw, &line.Value)
			}
			if !yield(line.Value, err) || err != nil {
				return
			}
		}
	}
}
