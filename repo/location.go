package repo

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

type scheme string

const (
	schemeLocal scheme = "file"
	schemeSSH   scheme = "ssh"
	schemeGit   scheme = "git"
	schemeHTTP  scheme = "http"
	schemeHTTPS scheme = "https"
)

// A location is the text of a remote, taken apart.
type location struct {
	scheme   scheme
	user     string
	password string
	host     string
	port     int // 0 for the scheme's own
	path     string
	branch   string
}

const maxLocation = 4096

func parseLocation(text string) (location, error) {
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return location{}, errors.New("remote: a control character in it")
		}
	}
	if text == "" || len(text) > maxLocation {
		return location{}, errors.New("remote: empty or far too long")
	}
	rest, branch, given := cutBranch(text)
	at, err := parsePlace(rest)
	if err != nil {
		return location{}, fmt.Errorf("remote %s: %w", hidePassword(text), err)
	}
	if given && !isBranch(branch) {
		return location{}, fmt.Errorf("remote %s: %q is no name of a branch", hidePassword(text), branch)
	}
	at.branch = branch
	return at, nil
}

func cutBranch(text string) (rest, branch string, given bool) {
	i := strings.LastIndexByte(text, '#')
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

func parsePlace(text string) (location, error) {
	if strings.Contains(text, "://") {
		return parseURL(text)
	}
	colon, slash := strings.IndexByte(text, ':'), strings.IndexByte(text, '/')
	if strings.HasPrefix(text, "[") || strings.Contains(text, "@[") { // user@[2001:db8::1]:path
		if end := strings.Index(text, "]:"); end >= 0 && (slash < 0 || end < slash) {
			colon = end + 1
		}
	}
	if colon > 0 && (slash < 0 || colon < slash) {
		return parseSCP(text[:colon], text[colon+1:])
	}
	if text == "" {
		return location{}, errors.New("no path")
	}
	return location{scheme: schemeLocal, path: text}, nil
}

// parseSCP reads the short form of ssh: user@host:path.
func parseSCP(userHost, path string) (location, error) {
	user, host, ok := strings.Cut(userHost, "@")
	if !ok {
		user, host = "", userHost
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	at := location{scheme: schemeSSH, user: user, host: host, path: path}
	return at, at.check()
}

func parseURL(text string) (location, error) {
	u, err := url.Parse(text)
	if err != nil {
		return location{}, errors.New("no URL") // the error of url.Parse would show a password
	}
	if u.RawQuery != "" || u.Opaque != "" {
		return location{}, errors.New("a query has no place here")
	}
	at := location{scheme: scheme(u.Scheme), host: u.Hostname(), path: u.Path, user: u.User.Username()}
	at.password, _ = u.User.Password()
	if p := u.Port(); p != "" {
		if at.port, err = strconv.Atoi(p); err != nil || at.port < 1 || at.port > 65535 {
			return location{}, errors.New("no port number")
		}
	}
	switch at.scheme {
	case schemeLocal:
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return location{}, errors.New("a file URL has a path and no host")
		}
		return location{scheme: schemeLocal, path: u.Path}, nil
	case schemeSSH:
		if rest, ok := strings.CutPrefix(at.path, "/~"); ok {
			at.path = "~" + rest
		}
		if at.password != "" {
			return location{}, errors.New("SSH goes by key, not by password")
		}
	case schemeGit:
		if u.User != nil {
			return location{}, errors.New("git:// knows no users")
		}
	case schemeHTTP, schemeHTTPS:
	default:
		return location{}, fmt.Errorf("scheme %q is not known", u.Scheme)
	}
	return at, at.check()
}

func (at location) check() error {
	switch {
	case at.host == "" || strings.ContainsAny(at.host, "@/ ") || strings.HasPrefix(at.host, "-"):
		return errors.New("no host")
	case at.path == "" || at.path == "/":
		return errors.New("no path")
	case strings.HasPrefix(at.user, "-") || strings.ContainsAny(at.user, "@: /"):
		return errors.New("no name of a user")
	}
	return nil
}

// isBranch holds to git-check-ref-format as far as it matters to us.
func isBranch(s string) bool {
	if s == "" || len(s) > 255 || strings.ContainsAny(s, " ~^:?*[\\") || strings.Contains(s, "..") ||
		strings.Contains(s, "@{") || strings.HasSuffix(s, ".") || s == "@" {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part[0] == '.' || part[0] == '-' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// hostPort returns what to dial.
func (at location) hostPort(standard int) string {
	port := at.port
	if port == 0 {
		port = standard
	}
	return net.JoinHostPort(at.host, strconv.Itoa(port))
}

// url returns the location as a URL without its branch, with the password on request.
func (at location) url(password bool) string {
	u := url.URL{Scheme: string(at.scheme), Host: at.host, Path: at.path}
	if at.port != 0 || strings.Contains(at.host, ":") {
		u.Host = strings.TrimSuffix(at.hostPort(0), ":0")
	}
	switch {
	case at.password != "" && password:
		u.User = url.UserPassword(at.user, at.password)
	case at.user != "":
		u.User = url.User(at.user)
	}
	return u.String()
}

// String returns the location as text that Open reads, but for a password.
func (at location) String() string {
	s := at.path
	switch {
	case at.scheme == schemeLocal && localNeedsDot(s):
		s = "./" + s
	case at.scheme == schemeLocal:
	case at.scheme == schemeSSH && at.port == 0:
		s = at.host + ":" + at.path
		if strings.Contains(at.host, ":") {
			s = "[" + at.host + "]:" + at.path
		}
		if at.user != "" {
			s = at.user + "@" + s
		}
	default:
		s = at.url(false)
	}
	if at.branch != "" {
		s += "#" + at.branch
	}
	return s
}

func localNeedsDot(path string) bool {
	at, err := parsePlace(path)
	return err != nil || at.scheme != schemeLocal
}

// hidePassword makes the text of a remote fit for an error.
func hidePassword(text string) string {
	before, after, ok := strings.Cut(text, "://")
	if !ok {
		return strconv.Quote(text)
	}
	if i := strings.LastIndexByte(after, '@'); i >= 0 {
		after = "…@" + after[i+1:]
	}
	return strconv.Quote(before + "://" + after)
}
