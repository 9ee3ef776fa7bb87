package dsn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"

	"stagecoach/mail"
)

// ErrNotReport is the error of Parse for a message that is no delivery status notification.
var ErrNotReport = errors.New("dsn: not a delivery report")

// Is reports whether a header is that of a delivery status notification: a multipart/report
// with the report-type delivery-status (RFC 3464 section 2).
func Is(h *mail.Header) bool {
	_, ok := reportBoundary(h)
	return ok
}

func reportBoundary(h *mail.Header) (string, bool) {
	kind, param, err := mime.ParseMediaType(h.Value("Content-Type"))
	ok := err == nil && kind == "multipart/report" && strings.EqualFold(param["report-type"], "delivery-status")
	return param["boundary"], ok
}

// A Status is what a received report says of one recipient.
type Status struct {
	Original   string // "type; address", "" when not given
	Final      string // "type; address"
	Action     Action // in lower case
	Status     string
	Diagnostic string
}

// The limits of Parse.
const (
	maxStatusPart = 1 << 20
	maxRecipients = 1000
	maxParts      = 10
)

// Parse reads the delivery-status part of a report: its envelope id and the fate of its
// recipients, at most 1,000 of them. It reads at most the first 1 MiB of that part.
func Parse(m *mail.Message) (envelopeID string, to []Status, err error) {
	boundary, ok := reportBoundary(&m.Header)
	if !ok || boundary == "" {
		return "", nil, ErrNotReport
	}
	parts := multipart.NewReader(m.NewReader(), boundary)
	for range maxParts {
		p, err := parts.NextPart()
		if err != nil {
			return "", nil, fmt.Errorf("%w: %w", ErrNotReport, err)
		}
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err == nil && (kind == "message/delivery-status" || kind == "message/global-delivery-status") {
			return parseStatus(io.LimitReader(content(p), maxStatusPart))
		}
	}
	return "", nil, ErrNotReport
}

func parseStatus(r io.Reader) (envelopeID string, to []Status, err error) {
	groups := textproto.NewReader(bufio.NewReader(r))
	first, err := groups.ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return "", nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	for err == nil && len(to) < maxRecipients {
		var g textproto.MIMEHeader
		if g, err = groups.ReadMIMEHeader(); len(g) == 0 {
			continue
		}
		to = append(to, Status{
			Original:   g.Get("Original-Recipient"),
			Final:      g.Get("Final-Recipient"),
			Action:     Action(strings.ToLower(g.Get("Action"))),
			Status:     g.Get("Status"),
			Diagnostic: g.Get("Diagnostic-Code"),
		})
	}
	if len(to) == 0 {
		return "", nil, ErrNotReport
	}
	return first.Get("Original-Envelope-Id"), to, nil
}
