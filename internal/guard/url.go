package guard

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURL is how long a URL may be, in bytes. Longer ones are refused by proxies
// and servers on the way: https://www.rfc-editor.org/rfc/rfc9110#section-4.1
// asks for 8,000, and there are those that stop at 2,048.
const maxURL = 2048

// CheckURL parses a URL where it enters, and returns an *Error unless it may be
// called as far as can be said without DNS. It wants an absolute URL of visible
// ASCII, at most 2 KiB long, without userinfo and fragment; its scheme is https,
// or http in Development; its host is a name in ordinary spelling, international
// ones in punycode, or an IP address that CheckAddr lets pass; its port, if there
// is one, may be called. Names that public DNS never has are refused early,
// unless Allow or Development opens something that they could lead to.
//
// The scheme and the host come back in lower case. No part of raw but these and
// the port is ever in an error: path and query may be secret.
func (r Rules) CheckURL(raw string) (*url.URL, error) {
	authority, err := splitAuthority(raw)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil { // not wrapped: it quotes the URL
		return nil, &Error{Reason: "the URL is malformed"}
	}
	if u.Host != authority {
		return nil, &Error{Reason: "the host has an odd spelling"}
	}
	u.Host = strings.ToLower(u.Host)
	if err := r.checkScheme(u.Scheme); err != nil {
		return nil, err
	}
	if err := r.checkHost(u); err != nil {
		return nil, err
	}
	if len(u.String()) > maxURL {
		return nil, errLong
	}
	return u, nil
}

var errLong = &Error{Reason: "the URL is longer than 2048 bytes"}

// splitAuthority returns host and port of raw as they are written there, and
// refuses what parsers read in different ways.
func splitAuthority(raw string) (string, error) {
	if len(raw) > maxURL {
		return "", errLong
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f {
			return "", &Error{Reason: "the URL has a control character, a space or a character that is not ASCII: percent-encode the path, and write the host in punycode"}
		}
	}
	if strings.Contains(raw, `\`) {
		return "", &Error{Reason: "the URL has a backslash, which some read as a slash"}
	}
	if strings.Contains(raw, "#") {
		return "", &Error{Reason: "the URL has a fragment, which is never sent"}
	}
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", &Error{Reason: "the URL is not absolute: write https://host/path"}
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	switch {
	case authority == "":
		return "", &Error{Reason: "the URL has no host"}
	case strings.Contains(authority, "@"):
		return "", &Error{Reason: "the URL has userinfo: credentials belong into a header"}
	case strings.Contains(authority, "%"):
		return "", &Error{Reason: "the host has a percent sign: write it plainly, and addresses without zone"}
	}
	return authority, nil
}

func (r Rules) checkScheme(scheme string) error {
	switch {
	case scheme == "https", scheme == "http" && r.Development:
		return nil
	case scheme == "http":
		return &Error{Reason: "the scheme is http", Setting: Development}
	default:
		return &Error{Reason: "the scheme is neither https nor http"}
	}
}

// checkHost looks at host and port of u, which are in lower case.
func (r Rules) checkHost(u *url.URL) error {
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	if !isIP {
		if err := r.checkName(host); err != nil {
			return err
		}
	}
	port, err := portOf(u)
	if err != nil {
		return err
	}
	if isIP {
		return r.CheckAddr(netip.AddrPortFrom(ip, port))
	}
	return r.checkPort(host, port)
}

func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		if strings.HasSuffix(u.Host, ":") {
			return 0, &Error{Reason: "the port is missing after the colon"}
		}
		if u.Scheme == "http" {
			return 80, nil
		}
		return 443, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || text[0] == '0' {
		return 0, &Error{Reason: "the port is not a number from 1 to 65535"}
	}
	return uint16(port), nil
}

// Limits of names: https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
const (
	maxName  = 253
	maxLabel = 63
)

func (r Rules) checkName(name string) error {
	if len(name) > maxName {
		return &Error{Reason: "the host's name is longer than 253 bytes"}
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		if !isLabel(label) {
			if label == "" && i > 0 && i == len(labels)-1 {
				return &Error{Reason: "the host ends in a dot: leave it out"}
			}
			return &Error{Reason: "the host is neither a name nor an IP address"}
		}
	}
	// As browsers do: https://url.spec.whatwg.org/#ends-in-a-number-checker
	// Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses.
	if isNumber(labels[len(labels)-1]) {
		return &Error{Target: name, Reason: "the host looks like an IP address in a spelling that is not accepted: write four decimal numbers, or IPv6 in brackets"}
	}
	return r.checkPublicName(name)
}

// isLabel returns whether s is one part of a name: letters, digits, hyphens
// inside, and underscores, which are no part of a host's name and yet found.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func isNumber(label string) bool {
	if digits, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// loopback are the addresses that a name for this machine stands for.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// opensLoopback reports whether a name for this machine may lead somewhere.
func (r Rules) opensLoopback() bool {
	return r.Development || slices.ContainsFunc(r.Allow, func(p netip.Prefix) bool {
		return slices.ContainsFunc(loopback, p.Overlaps)
	})
}

// localhost is always this machine, whatever else is open: RFC 6761, section 6.3.
const localhost = "localhost"

// privateDomains are never found in public DNS either.
var privateDomains = []struct{ domain, name, setting string }{
	{"localdomain", "this machine or its network", Development},
	{"local", "names of the local link (RFC 6762)", Allow},
	{"internal", "names of private networks and clouds", Allow}, // reserved by ICANN's board in July 2024
	{"home.arpa", "names of home networks (RFC 8375)", Allow},
}

// checkPublicName answers early what the addresses would say later. Where
// something private is open, a name may lead there, and they alone decide.
func (r Rules) checkPublicName(name string) error {
	if name == localhost || strings.HasSuffix(name, "."+localhost) {
		if r.opensLoopback() {
			return nil
		}
		return &Error{Target: name, Reason: "not a public name: this machine (RFC 6761)", Setting: Development}
	}
	if r.Development || len(r.Allow) > 0 {
		return nil
	}
	for _, p := range privateDomains {
		if name == p.domain || strings.HasSuffix(name, "."+p.domain) {
			return &Error{Target: name, Reason: "not a public name: " + p.name, Setting: p.setting}
		}
	}
	if !strings.Contains(name, ".") {
		return &Error{Target: name, Reason: "not a public name: it has no dot", Setting: Allow}
	}
	return nil
}
