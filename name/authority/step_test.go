package authority

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stagecoach/rfc/dns"
)

// asIfRead compares a file that was changed in place with the same text read from nothing, and a
// zone that was changed with one built from nothing.
func asIfRead(t testing.TB, f *zoneFile, z *Zone) {
	t.Helper()
	back, problems := parseFile(f.name, f.zone, f.text)
	if fatal(problems) {
		t.Fatalf("%v in\n%s", problems, f.text)
	}
	show := func(f *zoneFile) (out []string) {
		for _, e := range f.entries {
			out = append(out, fmt.Sprint(e.start, e.end, e.line, e.owner, e.owned, e.origin, e.ttl, e.behind, e.rr.Header().Ttl, dns.TypeName(e.rr.Header().Rrtype), dns.Data(e.rr)))
		}
		return append(out, fmt.Sprint(f.origin, f.ttl))
	}
	if d := cmp.Diff(show(back), show(f)); d != "" {
		t.Fatalf("%s in\n%s", d, f.text)
	}
	fresh, err := NewZone(f.zone, back.records())
	if err != nil {
		t.Fatal(err)
	}
	table := func(z *Zone) (out []string) {
		for _, name := range z.names {
			n := z.nodes[name]
			line := name
			if n.cut != nil {
				line += " below " + n.cut.name
				if z.nodes[n.cut.name] != n.cut {
					line += " of another version"
				}
			}
			var sets []string
			for _, s := range n.sets {
				set := &Zone{Name: z.Name, soa: z.soa, names: []string{name}, nodes: map[string]*node{name: {sets: []rrset{s}}}}
				lines := strings.Split(render(set), "\n")
				sortNames(lines[3:])
				sets = append(sets, strings.Join(lines[3:], "\n"))
			}
			out = append(out, line+"\n"+strings.Join(sets, "\n"))
		}
		return append(out, fmt.Sprint(len(z.nodes), len(z.pointers), z.soa))
	}
	if d := cmp.Diff(table(fresh), table(z)); d != "" {
		t.Fatalf("the zone: %s", d)
	}
}

const stepText = `; a zone with all that is of consequence to names
$TTL 60
@  IN SOA ns hostmaster ( 7 ; serial
        7200 900 1209600 3600 )
     NS  ns
     MX  10 mx
ns   A   192.0.2.1
mx   A   192.0.2.2    ; v4
     AAAA 2001:db8::2
; a delegation with glue
child NS ns.child
ns.child A 192.0.2.3
a.b.c TXT deep
*.w  TXT wild
alias CNAME mx
$ORIGIN sub.x.
y  60 A 192.0.2.3
	TXT "two (" ; of them
`

// Whatever updates come, one after the other: the file and the zone that were changed in place
// are what they would be if they were read anew.
func TestStepsAsIfRead(t *testing.T) {
	t.Parallel()
	fast := 0
	rapid.Check(t, func(rt *rapid.T) {
		file, _ := parseFile("x", "x", stepText)
		zone, err := NewZone("x", file.records())
		if err != nil {
			t.Fatal(err)
		}
		f := &servedFile{name: "x", parsed: file, zone: zone}
		for range rapid.IntRange(1, 12).Draw(rt, "updates") {
			m := drawUpdate(rt, t)
			d, _, rcode := update(f.zone, m, func(string, uint16) bool { return true })
			if rcode != dns.RcodeSuccess || d.empty() {
				continue
			}
			serial := f.zone.Serial() + 1
			after, wide, err := f.after(d, serial)
			if err != nil {
				continue // it is refused
			}
			if !wide {
				fast++
			}
			next, err := f.parsed.edit(d, serial, after)
			if err != nil {
				rt.Fatal(err)
			}
			asIfRead(t, next, after)
			if !strings.Contains(next.text, "; a delegation with glue") {
				rt.Fatalf("the file was written anew for %v", m)
			}
			f = &servedFile{name: "x", parsed: next, zone: after}
		}
	})
	if fast == 0 {
		t.Error("no update was made in place")
	}
}
