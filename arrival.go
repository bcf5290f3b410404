package webhook

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// arrival is what is kept of the request with which an event came, beside its
// headers and body: what HTTPHandler needs to show it again. The zero value is a
// POST to "/". Its names are short because every event pays for them.
type arrival struct {
	Method  string   `json:"m,omitempty"` // empty: POST
	Path    string   `json:"p,omitempty"` // as it was spelt; empty: "/"
	Query   string   `json:"q,omitempty"` // as it was spelt, without credentials
	Host    string   `json:"h,omitempty"`
	Pattern string   `json:"t,omitempty"`
	Values  []string `json:"v,omitempty"` // what the pattern's wildcards matched, in their order
	Remote  string   `json:"a,omitempty"`
}

// maxArrival bounds what is kept of a request, in bytes: it is stored with each
// of its events. A URL of 8000 bytes is the longest that everybody is asked to
// support, and a wildcard may match all of it:
// https://www.rfc-editor.org/rfc/rfc9110#section-4.1-5
const maxArrival = 16 << 10

// arrivalOf returns what is kept of r, whose sender's credentials have the names
// hide (see Verifier.Hide). ErrMalformed: it is more than maxArrival.
func arrivalOf(r *http.Request, hide []string) (*arrival, error) {
	a := &arrival{Host: r.Host, Pattern: r.Pattern, Remote: r.RemoteAddr}
	if r.Method != http.MethodPost {
		a.Method = r.Method
	}
	if u := r.URL; u != nil {
		a.Query = u.RawQuery
		if a.Path = spelt(u); a.Path == "/" {
			a.Path = ""
		}
	}
	for name := range wildcards(r.Pattern) {
		a.Values = append(a.Values, r.PathValue(name))
	}
	if n := a.size(); n > maxArrival {
		return nil, fmt.Errorf("%w: its URL, host and path values have %d bytes, at most %d", ErrMalformed, n, maxArrival)
	}
	a.Query = withoutHidden(a.Query, hide)
	a.Host = a.Host[strings.LastIndexByte(a.Host, '@')+1:] // userinfo is a credential
	return a, nil
}

func (a *arrival) size() int {
	n := len(a.Method) + len(a.Path) + len(a.Query) + len(a.Host) + len(a.Pattern) + len(a.Remote)
	for _, v := range a.Values {
		n += len(v)
	}
	return n
}

// url returns the URL as it was, without what was hidden.
func (a *arrival) url() (*url.URL, error) {
	if a.Path == "" {
		return &url.URL{Path: "/", RawQuery: a.Query}, nil
	}
	path, err := url.PathUnescape(a.Path)
	if err != nil { // its text would quote the path
		return nil, fmt.Errorf("webhook: replay: the path kept, of %d bytes, is not what was written: %T", len(a.Path), err)
	}
	u := &url.URL{Path: path, RawQuery: a.Query}
	if u.EscapedPath() != a.Path {
		u.RawPath = a.Path
	}
	return u, nil
}

// mapText returns a with f applied to all that may come from outside; a itself
// where that changes nothing, as nearly always.
func (a *arrival) mapText(f func(string) string) *arrival {
	if a == nil {
		return nil
	}
	changes := func(s string) bool { return f(s) != s }
	texts := [...]string{a.Method, a.Path, a.Query, a.Host, a.Pattern, a.Remote}
	if !slices.ContainsFunc(texts[:], changes) && !slices.ContainsFunc(a.Values, changes) {
		return a
	}
	m := arrival{
		Method: f(a.Method), Path: f(a.Path), Query: f(a.Query), Host: f(a.Host),
		Pattern: f(a.Pattern), Values: slices.Clone(a.Values), Remote: f(a.Remote),
	}
	for i, v := range m.Values {
		m.Values[i] = f(v)
	}
	return &m
}

// spelt returns u's path as it was written.
func spelt(u *url.URL) string {
	// EscapedPath would write anew what the RFC wants escaped and the sender did not.
	if u.RawPath != "" {
		if p, err := url.PathUnescape(u.RawPath); err == nil && p == u.Path {
			return u.RawPath
		}
	}
	return u.EscapedPath()
}

// withoutHidden returns a query without the parameters that hide names or that are
// credentials by their name, and the others spelt as they are.
func withoutHidden(query string, hide []string) string {
	if query == "" {
		return ""
	}
	all := strings.Split(query, "&")
	rest := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return isHidden(p, hide) })
	if len(rest) == len(all) {
		return query
	}
	return strings.Join(rest, "&")
}

// isHidden reports whether a part of a query has a parameter that is not stored. To
// some ";" parts them as "&" does; such a part goes whole.
func isHidden(part string, hide []string) bool {
	for p := range strings.SplitSeq(part, ";") {
		name, _, _ := strings.Cut(p, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil {
			plain = name
		}
		if matchesAny(hide, plain) || matchesAny(credentials, plain) {
			return true
		}
	}
	return false
}

// credentials are the names by which parameters of a query are known to be
// credentials, for any sender: by RFC 6750 and RFC 6749, by the signed URLs of the
// large clouds, and by habit.
var credentials = []string{
	"access_token", "api_key", "api-key", "apikey", "auth", "auth_token", "authorization", "bearer", "client_secret",
	"credential", "credentials", "jwt", "key", "pass", "passwd", "password", "pwd", "refresh_token", "secret",
	"sig", "signature", "token", "webhook_secret", "x-amz-*", "x-goog-*",
}

// wildcards yields the names of a pattern's wildcards, in their order: those of
// net/http ("{name}", "{name...}"), of chi ("{name:regexp}", "*"), and of gin and
// echo ("/:name", "*").
func wildcards(pattern string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := 0; at < len(pattern); {
			name, after := "", at+1
			switch {
			case pattern[at] == '{':
				inside, rest := braced(pattern[after:])
				after = len(pattern) - len(rest)
				name, _, _ = strings.Cut(inside, ":")
				name = strings.TrimSuffix(name, "...")
			case pattern[at] == '*':
				name = "*"
			case pattern[at] == ':' && at > 0 && pattern[at-1] == '/':
				name, _, _ = strings.Cut(pattern[after:], "/")
				after += len(name)
			}
			if name != "" && name != "$" && !yield(name) {
				return
			}
			at = after
		}
	}
}

// braced parts s after the brace that closes one which was opened before it.
func braced(s string) (inside, after string) {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
