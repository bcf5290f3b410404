package webhook

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/surehook/webhook/internal/refusal"
)

// checkBaseURL returns what is wrong with a Verifier.BaseURL; none is fine.
func checkBaseURL(base string) error {
	if base == "" {
		return nil
	}
	// In lower case, since url.Parse would change another spelling.
	known := strings.HasPrefix(base, "https://") || strings.HasPrefix(base, "http://")
	u, err := url.Parse(base)
	if err != nil || !known || u.Host == "" || u.User != nil || strings.ContainsAny(base, "?#") {
		return &refusal.Error{
			Cause: refusal.Unconfigured,
			Text:  "Verifier.BaseURL is not of the form https://hooks.example.com/prefix, without user, query and fragment",
		}
	}
	return nil
}

// locate completes r.URL by BaseURL, unless it names a host itself.
func (v *Verifier) locate(r *Request) error {
	if v.BaseURL == "" || r.URL == nil || r.URL.Host != "" {
		return nil
	}
	base, err := url.Parse(strings.TrimSuffix(v.BaseURL, "/"))
	if err != nil {
		return err // complete has looked
	}
	// URL.JoinPath would clean the path, and change its spelling.
	u := hostless(r.URL)
	r.URL = &url.URL{
		Scheme: base.Scheme, Host: base.Host,
		Path: base.Path + u.Path, RawPath: speltPath(base) + speltPath(u),
		ForceQuery: u.ForceQuery, RawQuery: u.RawQuery,
	}
	return nil
}

// speltPath returns u's path as it was spelt: RawPath is set where that is not as
// EscapedPath spells it.
func speltPath(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// urlOf returns the path and query of r as its sender spelt them, whatever a
// router or http.StripPrefix has made of r.URL. What the request says of its
// host is not in it: everybody can write that.
func urlOf(r *http.Request) *url.URL {
	uri := originForm(r.RequestURI)
	if uri == "" || uri[0] != '/' { // no server has read it, or it is no path
		return hostless(r.URL)
	}
	path, query, asks := strings.Cut(uri, "?")
	if u := r.URL; u != nil && u.Host == "" && u.EscapedPath() == path && u.RawQuery == query && (query != "") == asks {
		return u
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return hostless(r.URL)
	}
	return hostless(u)
}

// originForm cuts scheme and host off a request target: clients write them for a
// proxy, and tests do.
func originForm(target string) string {
	_, rest, ok := strings.Cut(target, "://")
	if !ok || target[0] == '/' {
		return target
	}
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		return "/"
	}
	if rest[i] == '?' {
		return "/" + rest[i:]
	}
	return rest[i:]
}

// hostless returns the path and query of u.
func hostless(u *url.URL) *url.URL {
	if u == nil || u.Host == "" && u.Scheme == "" && u.Opaque == "" {
		return u
	}
	return &url.URL{Path: u.Path, RawPath: u.RawPath, ForceQuery: u.ForceQuery, RawQuery: u.RawQuery}
}
