package smtp

import (
	"time"

	"stagecoach/mail"
)

// bdat does BDAT (RFC 3030 section 2). The chunk is read whatever becomes of it, so that
// none of it is taken for a command.
func (s *session) bdat(args string) error {
	size, last, err := parseChunk(args)
	if err != nil {
		return badTalk(501, "5.5.4", "syntax error in the arguments of BDAT")
	}
	t := &s.now
	if refusal := s.mayChunk(size); refusal != nil {
		return s.skip(size, refusal)
	}
	if size == 0 && !last {
		if err := s.idles(); err != nil {
			return err
		}
	}
	s.begin(false)
	for left := size; left > 0; {
		p, err := s.in.chunk(left)
		if err != nil {
			return cut(err)
		}
		left -= int64(len(p))
		if err := s.addChunk(p); err != nil {
			return err
		}
	}
	t.receiving = false
	if t.draft.Err() != nil || last && !s.endText() {
		return s.chunkTrouble()
	}
	if last {
		return s.finish()
	}
	s.reply(250, "2.0.0", "chunk taken")
	return nil
}

// mayChunk says why a chunk is not wanted.
func (s *session) mayChunk(size int64) *mail.Refusal {
	t := &s.now
	switch {
	case !t.open:
		return errSequence
	case len(t.mail.Envelope.To) == 0:
		return mail.Reject(554, "5.5.1", "no valid recipients")
	case t.draft != nil && size > s.limits.Message.Size-t.draft.Size(), size > s.limits.Message.Size:
		return mail.ErrTooLarge
	}
	return nil
}

// skip reads a chunk that is not wanted and drops it. In the midst of a message, or when
// the chunk is larger than any message may be, the connection ends.
func (s *session) skip(size int64, r *mail.Refusal) error {
	t := &s.now
	if size > s.limits.Message.Size {
		return fatal{r, false}
	}
	t.receiving, t.began, t.received = true, time.Now(), 0
	for t.received < size {
		p, err := s.in.chunk(size - t.received)
		if err != nil {
			return cut(err)
		}
		t.received += int64(len(p))
	}
	t.receiving = false
	if t.draft != nil {
		return fatal{r, false}
	}
	return r
}

// addChunk adds octets of a chunk to the draft. All but BINARYMIME is text.
func (s *session) addChunk(p []byte) error {
	if s.now.mail.Envelope.Body == mail.BodyBinary {
		s.keep(p)
	} else if _, err := s.now.text.scan(p, s.keep); err != nil {
		return textTrouble(err)
	}
	return s.took(len(p))
}

// endText ends the message, and its last line, which in a chunk may lack its CRLF: a line
// has one (RFC 5321 section 2.3.8), and signatures count it in (RFC 6376 section 3.4.3). It
// reports false for half of a CRLF.
func (s *session) endText() bool {
	if s.now.mail.Envelope.Body == mail.BodyBinary {
		return true
	}
	if s.now.text.state == inLine {
		s.keep([]byte("\r\n"))
	}
	return s.now.text.state != afterCR
}

// chunkTrouble is the end of a message that cannot be taken.
func (s *session) chunkTrouble() error {
	if err := s.now.draft.Err(); err != nil {
		return fatal{mail.RefusalOf(err), false}
	}
	return textTrouble(errBareCR)
}
