package account

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stagecoach/mail"
)

// domainFile is named so that no local part can be.
const domainFile = "@domain"

// maxErrors is how many errors Parse reports.
const maxErrors = 20

// Parse reads the files of a repository, by path. Its error lists what is wrong with them,
// each with its file, and for what stands in a file its line or key.
func Parse(files map[string][]byte, s Settings) (*Book, error) {
	main, err := mail.CanonicalDomain(s.Domain)
	if err != nil {
		return nil, fmt.Errorf("main domain %q: %w", s.Domain, err)
	}
	if err := checkSeparator(s.Separator); err != nil {
		return nil, err
	}
	p := &parser{
		book:    &Book{main: main, entries: map[mail.Address]entry{}, domains: map[string]*domain{}},
		base:    s,
		pending: map[string]map[mail.Address]bool{},
	}
	p.domain(main)
	names := slices.SortedFunc(maps.Keys(files), compareFiles)
	for _, name := range names {
		if user, ok := strings.CutPrefix(name, pendingFolder); ok {
			if err := p.pendingTargets(user, files[name]); err != nil {
				p.errs = append(p.errs, fmt.Errorf("%s: %w", name, err))
			}
			continue
		}
		if err := p.file(name, files[name]); err != nil {
			p.errs = append(p.errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	p.takeAll()
	p.checkRoles()
	p.checkTargets()
	if len(p.errs) > maxErrors {
		p.errs = append(p.errs[:maxErrors], fmt.Errorf("and %d more", len(p.errs)-maxErrors))
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	p.setAside()
	p.finish()
	return p.book, nil
}

// compareFiles puts the settings of a domain before its users.
func compareFiles(a, b string) int {
	first := func(s string) string {
		if i := strings.LastIndexByte(s, '/'); s[i+1:] == domainFile {
			return "0" + s
		}
		return "1" + s
	}
	return strings.Compare(first(a), first(b))
}

type parser struct {
	book *Book
	base Settings
	errs []error

	pending map[string]map[mail.Address]bool // by file of the user
}

func (p *parser) domain(name string) *domain {
	d := p.book.domains[name]
	if d == nil {
		d = &domain{separator: p.base.Separator, postmaster: p.base.Postmaster}
		p.book.domains[name] = d
	}
	return d
}

func (p *parser) file(path string, data []byte) error {
	folder, name, nested := strings.Cut(path, "/")
	if !nested {
		folder, name = "", path
	}
	if passedOver(folder) || passedOver(name) {
		return nil
	}
	domainName := p.book.main
	if nested {
		if strings.Contains(name, "/") {
			return errors.New("a folder in a folder; a domain's folder holds its users and no more")
		}
		d, err := mail.CanonicalDomain(folder)
		if err != nil || strings.HasPrefix(d, "[") {
			return fmt.Errorf("the folder %q is not named like a domain", folder)
		}
		domainName = d
	}
	members, err := readObject(data)
	if err != nil {
		return err
	}
	if name == domainFile {
		return p.domainSettings(p.domain(domainName), members)
	}
	address, err := mail.ParseAddress(name + "@" + domainName)
	if err != nil {
		return errors.New("the file is not named like a local part")
	}
	u := &User{Name: address.Local(), Domain: domainName, File: path, address: address,
		separator: p.domain(domainName).separator, book: p.book}
	p.book.users = append(p.book.users, u)
	return p.user(u, members)
}

func passedOver(name string) bool {
	switch name {
	case "README", "README.md", "README.txt", "LICENSE":
		return true
	}
	return strings.HasPrefix(name, ".")
}

func (p *parser) domainSettings(d *domain, members []member) error {
	for _, m := range members {
		var err error
		switch m.key {
		case "separator":
			err = readSeparator(m, &d.separator)
		case "postmaster":
			var s string
			if err = read(m, &s); err == nil {
				d.postmaster, err = mail.ParseAddress(s)
			}
		default:
			err = errors.New("this key is not known; a domain has separator and postmaster")
		}
		if err != nil {
			return fmt.Errorf("line %d: key %.40q: %w", m.line, m.key, err)
		}
	}
	return nil
}

func (p *parser) user(u *User, members []member) error {
	for _, m := range members {
		if err := p.userMember(u, m); err != nil {
			return fmt.Errorf("line %d: key %.40q: %w", m.line, m.key, err)
		}
	}
	return nil
}

func (p *parser) userMember(u *User, m member) error {
	switch m.key {
	case "targets":
		return readAddresses(m, "", &u.Targets)
	case "aliases":
		return readAddresses(m, u.Domain, &u.Aliases)
	case "password":
		var s string
		if err := read(m, &s); err != nil {
			return err
		}
		var err error
		u.secret, err = parseSecret(s)
		return err
	case "catch_all":
		return read(m, &u.CatchAll)
	case "disabled":
		return read(m, &u.Disabled)
	case "separator":
		return readSeparator(m, &u.separator)
	case "insecure":
		return read(m, new(bool))
	}
	return errors.New("this key is not known; a user has targets, password, aliases, catch_all, separator, disabled and insecure")
}

func read[T any](m member, to *T) error {
	v, ok := m.value.(T)
	if !ok {
		return fmt.Errorf("the value must be %s", map[string]string{
			"string": "a string", "bool": "true or false", "[]string": "a list of strings",
		}[fmt.Sprintf("%T", *to)])
	}
	*to = v
	return nil
}

func readSeparator(m member, to *string) error {
	if err := read(m, to); err != nil {
		return err
	}
	return checkSeparator(*to)
}

// A separator is one character that may stand in a local part without quotes.
func checkSeparator(s string) error {
	if s == "" || len(s) == 1 && strings.Contains("!#$%&'*+-/=?^_`{|}~.", s) {
		return nil
	}
	return fmt.Errorf("separator %q: it is one character as + or -, or empty", s)
}

const maxAddresses = 1000 // targets or aliases of one user

// readAddresses reads a list; an address without @ is in the given domain, if there is one.
func readAddresses(m member, domain string, to *[]mail.Address) error {
	var list []string
	if err := read(m, &list); err != nil {
		return err
	}
	if len(list) > maxAddresses {
		return fmt.Errorf("more than %d addresses", maxAddresses)
	}
	for _, s := range list {
		full := s
		if domain != "" && !strings.Contains(s, "@") {
			full = s + "@" + domain
		}
		a, err := mail.ParseAddress(full)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(*to, func(b mail.Address) bool { return fold(b) == fold(a) }) {
			return fmt.Errorf("%s stands twice", a)
		}
		*to = append(*to, a)
	}
	return nil
}
