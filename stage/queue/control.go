package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// ControlSocket returns the path of the control socket of a spool.
func ControlSocket(dir string) string { return filepath.Join(dir, "control.sock") }

// ServeControl answers commands on a unix socket until ctx ends. Only the user of the process
// may open it (mode 0600); a socket that a dead process left is replaced.
//
//	POST /list   Filter        → Items, one JSON value a line
//	POST /show   {"id": …}     → Details, one JSON value a line
//	POST /do     Request       → Result
//	GET  /stats                → Stats
//
// A list that breaks off ends with a line {"failed": "why"}.
func (q *Queue) ServeControl(ctx context.Context, path string) error {
	l, err := listenPrivate(path)
	if err != nil {
		return fmt.Errorf("queue: control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /list", q.serveList)
	mux.HandleFunc("POST /show", q.serveShow)
	mux.HandleFunc("POST /do", q.serveDo)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, q.Stats()) })
	s := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("queue: control socket: %w", err)
	}
	return nil
}

// listenPrivate makes the socket under another name, and gives it the right name once its
// mode is right. The spool is locked, so that nobody else does so at the same time.
func listenPrivate(path string) (net.Listener, error) {
	raw := path + ".new"
	if err := os.Remove(raw); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: raw, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(raw, 0o600)
	if err == nil {
		err = os.Rename(raw, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// A Request is the body of POST /do.
type Request struct {
	Action Action `json:"action"`
	Filter Filter `json:"filter"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// failure is the last line of a list that broke off, and the body of an error.
type failure struct {
	Failed string `json:"failed"`
}

// read reads a request of bounded size, and refuses what it does not know.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer(w, failure{err.Error()})
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any) {
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client went away
}

func (q *Queue) serveList(w http.ResponseWriter, r *http.Request) {
	var f Filter
	if !read(w, r, &f) {
		return
	}
	if err := f.Check(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer(w, failure{err.Error()})
		return
	}
	e := json.NewEncoder(w)
	if err := q.Each(r.Context(), f, func(i Item) error { return e.Encode(i) }); err != nil {
		answer(w, failure{err.Error()})
	}
}

func (q *Queue) serveShow(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID ID `json:"id"`
	}
	if !read(w, r, &in) {
		return
	}
	e := json.NewEncoder(w)
	if err := q.Show(r.Context(), in.ID, func(d Details) error { return e.Encode(d) }); err != nil {
		answer(w, failure{err.Error()})
	}
}

func (q *Queue) serveDo(w http.ResponseWriter, r *http.Request) {
	var in Request
	if !read(w, r, &in) {
		return
	}
	result, err := q.Do(r.Context(), in.Action, in.Filter, in.DryRun)
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		answer(w, failure{err.Error()})
		return
	}
	answer(w, result)
}
