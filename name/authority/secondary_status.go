package authority

import (
	"cmp"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// A CopyStatus says how it stands with a zone of a Secondary.
type CopyStatus struct {
	Name     string    // without a final dot
	Serial   uint32    // 0 while there is no copy
	Records  int       // in the copy
	Checked  time.Time // when the primary last said that it is the newest; zero for never
	Expires  time.Time // when it is not served any more unless the primary says so again
	Live     bool      // it is served
	Failures int       // to ask the primary, in a row
	Error    string    // of the last one, "" after a success
}

// trouble is what keeps a zone from being current.
type trouble struct {
	failures int
	err      error
}

// Status returns how it stands with all zones, in the order of their names.
func (s *Secondary) Status() []CopyStatus {
	var out []CopyStatus
	now := s.clock()
	for name, h := range s.held {
		st := CopyStatus{Name: dns.Host(name)}
		if c := h.copy.Load(); c != nil {
			st.Serial, st.Checked, st.Expires = c.zone.Serial(), c.checked, c.expires()
			st.Records = len(c.zone.Records())
			st.Live = now.Before(st.Expires)
		}
		if t := h.trouble.Load(); t != nil {
			st.Failures, st.Error = t.failures, t.err.Error()
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b CopyStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (c *zoneCopy) expires() time.Time {
	return c.checked.Add(time.Duration(c.zone.soa.Expire) * time.Second)
}
