package queue

import (
	"fmt"
	"io"
	"strings"

	"stagecoach/mail"
)

// Tags of the fields of letters and entries. A tag is never given a new meaning.
const (
	tagID         = 1
	tagFrom       = 2
	tagRecipient  = 3 // fields: address, notify, original, code, status, reply
	tagSubmitter  = 4
	tagBodyType   = 5
	tagUTF8       = 6
	tagRequireTLS = 7
	tagReturn     = 8
	tagEnvelopeID = 9
	tagAccepted   = 10
	tagBorn       = 11
	tagDue        = 12
	tagTrace      = 13
	tagVerified   = 14
	tagReport     = 15
	tagSize       = 16
	tagHeader     = 17
	tagBody       = 18
	tagFileSize   = 19
	tagFileSum    = 20
	tagDeadline   = 21

	tagDomain      = 32
	tagAttempts    = 33
	tagLastAttempt = 34
	tagLastError   = 35
	tagAlone       = 36
	tagHeld        = 37
	tagDamaged     = 38
	tagNoticed     = 39

	tagAddress  = 1
	tagNotify   = 2
	tagOriginal = 3
	tagCode     = 4
	tagStatus   = 5
	tagReply    = 6
	tagHost     = 7
	tagCause    = 8

	tagWall = 1
	tagRan  = 2
	tagOff  = 3
)

func (w *recordWriter) recipient(t Target) {
	in := newRecord(0, 128)
	in.text(tagAddress, t.Address.String())
	in.number(tagNotify, uint64(t.Notify))
	in.text(tagOriginal, t.Original)
	in.number(tagCode, uint64(max(t.Code, 0)))
	in.text(tagStatus, t.Status)
	in.text(tagReply, t.Reply)
	in.text(tagHost, t.Host)
	in.text(tagCause, t.Cause)
	w.record(tagRecipient, in)
}

func readRecipient(p []byte) (t Target, err error) {
	err = eachField(p, func(f field) (err error) {
		switch f.tag {
		case tagAddress:
			t.Address, err = mail.ParseAddress(f.text())
		case tagNotify:
			t.Notify = mail.Notify(f.number())
		case tagOriginal:
			t.Original = f.text()
		case tagCode:
			t.Code = int(f.number() % 1000)
		case tagStatus:
			t.Status = f.text()
		case tagReply:
			t.Reply = f.text()
		case tagHost:
			t.Host = f.text()
		case tagCause:
			t.Cause = f.text()
		}
		return err
	})
	if err == nil && t.Address.IsZero() {
		err = fmt.Errorf("%w: a recipient without an address", ErrDamaged)
	}
	return t, err
}

// encode makes the letter's record, with its message: header and body, or header and the
// name of the file that has the body.
func (l *Letter) encode(m *mail.Message) error {
	w := newRecord(kindLetter, 512+128*len(l.Envelope.To)+int(m.Header.Size())+l.inline(m))
	e := &l.Envelope
	w.bytes(tagID, l.ID[:])
	w.text(tagFrom, e.From.String())
	for _, to := range e.To {
		w.recipient(Target{Recipient: to})
	}
	w.text(tagSubmitter, e.Submitter)
	w.text(tagBodyType, string(e.Body))
	w.flag(tagUTF8, e.UTF8)
	w.flag(tagRequireTLS, e.RequireTLS)
	w.text(tagReturn, string(e.Return))
	w.text(tagEnvelopeID, e.ID)
	w.time(tagAccepted, l.Accepted)
	w.duration(tagBorn, l.Born)
	w.duration(tagDue, l.Due)
	w.duration(tagDeadline, l.Deadline)
	w.text(tagTrace, l.Trace)
	w.flag(tagVerified, l.Verified)
	w.flag(tagReport, l.Report)
	w.number(tagSize, uint64(l.Size))
	w.head(tagHeader, int(m.Header.Size()))
	at := len(w.b)
	if _, err := m.Header.WriteTo(w); err != nil {
		return err
	}
	l.header = w.b[at:len(w.b):len(w.b)]
	if l.file != nil {
		w.number(tagFileSize, uint64(l.file.size))
		w.number(tagFileSum, uint64(l.file.sum))
	} else {
		n := l.inline(m)
		w.head(tagBody, n)
		at := len(w.b)
		w.b = append(w.b, make([]byte, n)...)
		if _, err := io.ReadFull(m.NewReader(), w.b[at:]); err != nil {
			return fmt.Errorf("the body: %w", err)
		}
		l.body = w.b[at:]
	}
	l.record = w.seal()
	return nil
}

// inline returns how much of the body goes into the record.
func (l *Letter) inline(m *mail.Message) int {
	if l.file != nil {
		return 0
	}
	return int(m.Body.Size())
}

// Write appends to the record, for the header, which writes itself.
func (w *recordWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// decodeLetter reads what encode made; the letter keeps b.
func decodeLetter(b []byte) (*Letter, error) {
	p, err := openRecord(kindLetter, b)
	if err != nil {
		return nil, err
	}
	l := &Letter{record: b}
	e := &l.Envelope
	file := bodyFile{size: -1}
	err = eachField(p, func(f field) (err error) {
		switch f.tag {
		case tagID:
			copy(l.ID[:], f.value)
		case tagFrom:
			e.From, err = mail.ParseAddress(f.text())
		case tagRecipient:
			var t Target
			t, err = readRecipient(f.value)
			e.To = append(e.To, t.Recipient)
		case tagSubmitter:
			e.Submitter = f.text()
		case tagBodyType:
			e.Body = mail.BodyType(f.text())
		case tagUTF8:
			e.UTF8 = f.flag()
		case tagRequireTLS:
			e.RequireTLS = f.flag()
		case tagReturn:
			e.Return = mail.Return(f.text())
		case tagEnvelopeID:
			e.ID = f.text()
		case tagFileSize:
			file.size = int64(f.number() &^ (1 << 63))
		case tagFileSum:
			file.sum = uint32(f.number())
		default:
			l.set(f)
		}
		return err
	})
	if err == nil && len(e.To) == 0 {
		err = fmt.Errorf("%w: a letter without recipients", ErrDamaged)
	}
	if file.size >= 0 {
		l.file = &file
	}
	return l, asDamage(err)
}

// set takes a field of the letter that is not of its envelope.
func (l *Letter) set(f field) {
	switch f.tag {
	case tagAccepted:
		l.Accepted = f.time()
	case tagBorn:
		l.Born = f.duration()
	case tagDue:
		l.Due = f.duration()
	case tagDeadline:
		l.Deadline = f.duration()
	case tagTrace:
		l.Trace = f.text()
	case tagVerified:
		l.Verified = f.flag()
	case tagReport:
		l.Report = f.flag()
	case tagSize:
		l.Size = int64(f.number() &^ (1 << 63))
	case tagHeader:
		l.header = f.value
	case tagBody:
		l.body = f.value
	}
}

// asDamage makes every error of a record whose checksum is right an ErrDamaged too.
func asDamage(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

func (e *Entry) encode() []byte {
	w := newRecord(kindEntry, 256+192*len(e.Recipients))
	w.bytes(tagID, e.ID[:])
	w.text(tagDomain, e.Domain)
	w.text(tagFrom, e.From.String())
	for _, t := range e.Recipients {
		w.recipient(t)
	}
	w.number(tagSize, uint64(e.Size))
	w.time(tagAccepted, e.Accepted)
	w.duration(tagBorn, e.Born)
	w.duration(tagDue, e.Due)
	w.duration(tagDeadline, e.Deadline)
	w.number(tagAttempts, uint64(e.Attempts))
	w.time(tagLastAttempt, e.LastAttempt)
	w.text(tagLastError, e.LastError)
	w.text(tagTrace, e.Trace)
	w.flag(tagReport, e.Report)
	w.flag(tagAlone, e.Alone)
	w.flag(tagHeld, e.Held)
	w.flag(tagDamaged, e.Damaged)
	w.flag(tagNoticed, e.Noticed)
	return w.seal()
}

func decodeEntry(b []byte) (*Entry, error) {
	p, err := openRecord(kindEntry, b)
	if err != nil {
		return nil, err
	}
	e := &Entry{}
	err = eachField(p, func(f field) (err error) {
		switch f.tag {
		case tagID:
			copy(e.ID[:], f.value)
		case tagDomain:
			e.Domain = f.text()
		case tagFrom:
			e.From, err = mail.ParseAddress(f.text())
		case tagRecipient:
			var t Target
			t, err = readRecipient(f.value)
			e.Recipients = append(e.Recipients, t)
		default:
			e.set(f)
		}
		return err
	})
	e.stored = e.places()
	return e, asDamage(err)
}

// set takes a field of plain form.
func (e *Entry) set(f field) {
	switch f.tag {
	case tagSize:
		e.Size = int64(f.number() &^ (1 << 63))
	case tagAccepted:
		e.Accepted = f.time()
	case tagBorn:
		e.Born = f.duration()
	case tagDue:
		e.Due = f.duration()
	case tagDeadline:
		e.Deadline = f.duration()
	case tagAttempts:
		e.Attempts = int(min(f.number(), 1<<30))
	case tagLastAttempt:
		e.LastAttempt = f.time()
	case tagLastError:
		e.LastError = f.text()
	case tagTrace:
		e.Trace = f.text()
	case tagReport:
		e.Report = f.flag()
	case tagAlone:
		e.Alone = f.flag()
	case tagHeld:
		e.Held = f.flag()
	case tagDamaged:
		e.Damaged = f.flag()
	case tagNoticed:
		e.Noticed = f.flag()
	}
}

func (s ClockState) encode() []byte {
	w := newRecord(kindClock, 64)
	w.time(tagWall, s.Wall)
	w.duration(tagRan, s.Ran)
	w.duration(tagOff, s.Off)
	return w.seal()
}

func decodeClock(b []byte) (s ClockState, err error) {
	p, err := openRecord(kindClock, b)
	if err != nil {
		return s, err
	}
	err = eachField(p, func(f field) error {
		switch f.tag {
		case tagWall:
			s.Wall = f.time()
		case tagRan:
			s.Ran = f.duration()
		case tagOff:
			s.Off = f.duration()
		}
		return nil
	})
	return s, asDamage(err)
}

// message returns the letter's message as a new value; b is its body.
func (l *Letter) message(b io.ReaderAt, size int64, c io.Closer) *mail.Message {
	var header strings.Builder
	header.Grow(len(l.header))
	header.Write(l.header)
	return mail.NewMessageFrom(header.String(), b, size, c)
}
