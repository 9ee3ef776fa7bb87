package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"stagecoach/mail"
)

// An Entry is what the files say about a user, to be changed and written again.
type Entry struct {
	File      string
	Targets   []mail.Address
	Pending   []mail.Address // those of Targets that wait for being confirmed
	Password  string         // in a form that is kept, as HashPassword returns it; "" for none
	Aliases   []mail.Address
	CatchAll  bool
	Separator *string // nil: that of the domain
	Disabled  bool
	insecure  bool
}

// An entryFile is the JSON of an entry, keys in the order in which they are written. The first
// two are always there, as the OCaml system wants them.
type entryFile struct {
	Targets   []string `json:"targets"`
	Password  string   `json:"password,omitempty"`
	Aliases   []string `json:"aliases,omitempty"`
	CatchAll  bool     `json:"catch_all,omitempty"`
	Separator *string  `json:"separator,omitempty"`
	Disabled  bool     `json:"disabled,omitempty"`
	Insecure  bool     `json:"insecure,omitempty"`
}

// text returns the entry as a file.
func (e *Entry) text(domain string) ([]byte, error) {
	f := entryFile{
		Targets: []string{}, Password: e.Password, CatchAll: e.CatchAll, Separator: e.Separator,
		Disabled: e.Disabled, Insecure: e.insecure,
	}
	for _, a := range e.Targets {
		f.Targets = append(f.Targets, a.String())
	}
	for _, a := range e.Aliases {
		f.Aliases = append(f.Aliases, aliasText(a, domain))
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(f)
	return b.Bytes(), err
}

// aliasText leaves away the user's own domain.
func aliasText(a mail.Address, domain string) string {
	if local := localText(a); a.Domain() == domain && !strings.Contains(local, "@") {
		return local
	}
	return a.String()
}

// localText is the local part as it stands before the @.
func localText(a mail.Address) string { return strings.TrimSuffix(a.String(), "@"+a.Domain()) }

// pendingText returns the file of unconfirmed targets, nil for none.
func (e *Entry) pendingText() []byte {
	if len(e.Pending) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, a := range e.Pending {
		fmt.Fprintln(&b, a)
	}
	return b.Bytes()
}

// fileFor returns where the file of a new user belongs: at the top, or in the folder that the
// domain has or is to have.
func (b *Book) fileFor(a mail.Address) (string, error) {
	name := localText(a)
	if passedOver(name) || strings.Contains(name, "/") {
		return "", fmt.Errorf("%s: a file cannot have this name", a)
	}
	if a.Domain() == b.main {
		return name, nil
	}
	for _, u := range b.users {
		if folder := path.Dir(u.File); u.Domain == a.Domain() && folder != "." {
			return folder + "/" + name, nil
		}
	}
	return a.Domain() + "/" + name, nil
}

// readEntry reads a user's file.
func readEntry(u *User, data []byte) (*Entry, error) {
	members, err := readObject(data)
	if err != nil {
		return nil, err
	}
	e := &Entry{File: u.File, Targets: append(append([]mail.Address(nil), u.Targets...), u.Pending...), Pending: u.Pending,
		Aliases: append([]mail.Address(nil), u.Aliases...), CatchAll: u.CatchAll, Disabled: u.Disabled}
	for _, m := range members {
		switch m.key {
		case "targets": // in their order
			e.Targets = nil
			err = readAddresses(m, "", &e.Targets)
		case "password":
			err = read(m, &e.Password)
		case "insecure":
			err = read(m, &e.insecure)
		case "separator":
			e.Separator = new(string)
			err = read(m, e.Separator)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", u.File, err)
		}
	}
	return e, nil
}
