package authority

import "testing"

func TestNotifyKey(t *testing.T) {
	line := func(name string) string { return name + ". DNSKEY 0 3 163 " + secret + "\n" }
	files := map[string][]byte{
		"example._keys": []byte(line("personal._update.example") + line("10.0.0.3.10.0.0.6._transfer.example") + line("second._transfer.example")),
		"other._keys":   []byte(line("hook._notify.other") + line("a._update.other")),
		"example":       []byte(line("z._notify.example")), // a zone, no keys
	}
	for zone, want := range map[string]string{
		"example": "second._transfer.example.", "a.example.": "second._transfer.example.", "OTHER": "hook._notify.other.", "else": "",
	} {
		if k, ok := NotifyKey(files, zone); k.Name != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", zone, k.Name, ok, want)
		}
	}
	files["_keys"] = []byte(line("all._notify"))
	if k, _ := NotifyKey(files, "else"); k.Name != "all._notify." {
		t.Errorf("%q", k.Name)
	}
}
