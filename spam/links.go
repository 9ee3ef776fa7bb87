package spam

import (
	"bytes"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// link notes where a link of the mail leads.
func (r *reader) link(url string) {
	if r.links++; r.links > maxURLs {
		return
	}
	url = strings.TrimSpace(url)
	if hasPrefixFold(url, "mailto:") {
		r.mark("link", "mailto")
		r.links--
		return
	}
	host, rest := hostOf(url)
	if host == "" {
		r.links--
		return
	}
	if hasPrefixFold(url, "https:") {
		r.mark("link", "https")
	}
	domain, tld := registered(host)
	switch {
	case isNumeric(host):
		r.fact("links to a numeric address")
	case strings.Contains(host, "xn--"):
		r.fact("links to a domain in another script")
	}
	if domain != r.from.domain {
		r.foreignLinks++
	}
	r.mark("link tld", tld)
	r.mark("link path", shape(strings.TrimLeft(rest, "/")))
	if r.routes {
		r.put(routes, newHash(routes).text("link:").text(domain), []byte(domain), []byte("link"))
	}
	authority, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(url), "https://"), "http://"), "/")
	if strings.Contains(authority, "@") {
		r.fact("a link that hides its host behind a name")
	}
	if i := strings.LastIndexByte(authority, ':'); i > 0 && len(authority)-i > 3 && !strings.HasSuffix(authority, ":443") {
		r.mark("link", "port")
	}
	if strings.Count(url, "%") > 5 {
		r.mark("link", "many escapes")
	}
	if strings.Count(host, ".") > 3 && !isNumeric(host) {
		r.mark("link", "deep host")
	}
	if shortener(domain) {
		r.fact("links through a shortening service")
	}
}

// compare looks whether a link leads to the host that it shows.
func (r *reader) compare(shown, href string) {
	host, _ := hostOf(href)
	if host == "" {
		return
	}
	shown = strings.TrimSpace(shown)
	if shown == "" {
		r.mark("link", "without text")
		return
	}
	if !strings.Contains(shown, ".") || strings.Contains(shown, " ") || strings.Contains(shown, "@") {
		return
	}
	if !strings.Contains(shown, "://") {
		shown = "http://" + shown
	}
	seen, _ := hostOf(shown)
	a, tld := registered(seen)
	if b, _ := registered(host); a != "" && tld != "" && a != b && knownTLD(seen) {
		r.fact("links to a host that the text does not show")
	}
}

// bareLinks looks for links in plain text.
func (r *reader) bareLinks(text []byte) {
	for n := 0; n < maxURLs; n++ {
		i := bytes.Index(text, []byte("http"))
		if i < 0 {
			break
		}
		text = text[i:]
		end := bytes.IndexAny(text[:min(len(text), 512)], " <>\")")
		if end < 0 {
			end = min(len(text), 512)
		}
		if bytes.HasPrefix(text, []byte("http://")) || bytes.HasPrefix(text, []byte("https://")) {
			r.link(string(text[:end]))
		}
		text = text[max(end, 4):]
	}
}

// hostOf returns the host of a URL in lower case, "" when it leads nowhere in the web, and
// what follows.
func hostOf(url string) (host, rest string) {
	i := strings.Index(url, "//")
	if i < 0 || i > 8 || i > 0 && url[i-1] != ':' {
		return "", ""
	}
	s := url[i+2:]
	end := strings.IndexAny(s, "/?#\\")
	if end < 0 {
		end = len(s)
	}
	host, rest = s[:end], s[end:]
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if !strings.HasPrefix(host, "[") {
		if colon := strings.IndexByte(host, ':'); colon >= 0 {
			host = host[:colon]
		}
	}
	return strings.ToLower(strings.TrimRight(host[:min(len(host), 253)], ".")), rest
}

// domainOf returns what follows the first "@" of an address in text, in lower case.
func domainOf(s string) string {
	_, d, ok := strings.Cut(s, "@")
	if !ok {
		return ""
	}
	n := 0
	for n < len(d) && n < 253 && (d[n] >= 'a' && d[n] <= 'z' || d[n] >= 'A' && d[n] <= 'Z' || d[n] >= '0' && d[n] <= '9' || d[n] == '-' || d[n] == '.') {
		n++
	}
	return strings.ToLower(strings.Trim(d[:n], "."))
}

// registered returns the domain that somebody registered, and its last label.
func registered(host string) (domain, tld string) {
	if host == "" || isNumeric(host) {
		return host, ""
	}
	i := strings.LastIndexByte(host, '.')
	if i < 0 {
		return host, ""
	}
	tld = host[i+1:]
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d, tld
	}
	return host, tld
}

// knownTLD reports whether a host ends in a domain that exists.
func knownTLD(host string) bool {
	suffix, icann := publicsuffix.PublicSuffix(host)
	return icann || strings.Contains(suffix, ".")
}

func isNumeric(host string) bool {
	for i := 0; i < len(host); i++ {
		if c := host[i]; (c < '0' || c > '9') && c != '.' && c != '[' && c != ']' && c != ':' && c != 'x' {
			return false
		}
	}
	return host != ""
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func freemail(domain string) bool {
	switch domain {
	case "hotmail.com", "yahoo.com", "aol.com", "gmail.com", "outlook.com", "msn.com", "excite.com", "lycos.com", "mail.com", "gmx.de", "gmx.net",
		"web.de", "mail.ru", "yandex.ru", "163.com", "126.com", "qq.com", "icloud.com", "proton.me", "protonmail.com", "live.com", "yahoo.co.uk",
		"hotmail.co.uk", "hotmail.fr", "orange.fr", "libero.it", "netscape.net", "juno.com", "googlemail.com":
		return true
	}
	return false
}

func shortener(domain string) bool {
	switch domain {
	case "bit.ly", "tinyurl.com", "goo.gl", "t.co", "ow.ly", "is.gd", "buff.ly", "cutt.ly", "rebrand.ly", "t.ly", "shorturl.at", "rb.gy", "lnkd.in", "s.id", "tiny.cc", "v.gd":
		return true
	}
	return false
}
