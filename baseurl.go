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
	u := *r.URL
	u.Scheme, u.Host = base.Scheme, base.Host
	// URL.JoinPath would clean the path, and change its spelling.
	u.RawPath = speltPath(base) + speltPath(r.URL)
	u.Path = base.Path + r.URL.Path
	r.URL = &u
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
	if uri == "" { // no server has read it: a framework's or a test's
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
	return u
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

func hostless(u *url.URL) *url.URL {
	if u == nil || u.Host == "" {
		return u
	}
	return &url.URL{Path: u.Path, RawPath: u.RawPath, ForceQuery: u.ForceQuery, RawQuery: u.RawQuery}
}
