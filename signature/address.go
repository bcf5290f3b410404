package signature

import "net/url"

// addressOf returns the text of u as the sender spelt it. URL.String would not
// do: it writes some characters of a path anew, such as "|".
func addressOf(u *url.URL) string { return u.Scheme + "://" + u.Host + spelt(u) }

// targetOf returns the path and query of u as they stand in the request line,
// where no path is empty.
func targetOf(u *url.URL) string {
	if s := spelt(u); s != "" && s[0] == '/' {
		return s
	}
	return "/" + spelt(u)
}

// spelt returns the path and query of u. RawPath is set where the path was spelt
// otherwise than EscapedPath would.
func spelt(u *url.URL) string {
	s := u.RawPath
	if s == "" {
		s = u.EscapedPath()
	}
	if u.ForceQuery || u.RawQuery != "" {
		s += "?" + u.RawQuery
	}
	return s
}
