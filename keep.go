package webhook

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// maxHeaders bounds the headers kept with an event, names and values together.
// They are stored with each event; what senders mean by them takes hundreds of
// bytes.
const maxHeaders = 8 << 10

// kept returns those of h that are stored with an event: Content-*, User-Agent,
// traceparent and what Keep names, without credentials and what Hide names. If
// they are more than maxHeaders, the first ones by name stay.
func (v *Verifier) kept(h http.Header) http.Header {
	var kept http.Header
	size := 0
	for name, values := range h {
		if !v.keeps(name) {
			continue
		}
		if kept == nil {
			kept = http.Header{}
		}
		kept[name] = slices.Clip(values)
		size += sizeOf(name, values)
	}
	if size > maxHeaders {
		return firstOf(kept)
	}
	return kept
}

// firstOf returns the first headers of h by name, up to maxHeaders.
func firstOf(h http.Header) http.Header {
	first := http.Header{}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if size += sizeOf(name, h[name]); size > maxHeaders {
			break
		}
		first[name] = h[name]
	}
	return first
}

// sizeOf returns what a header takes, names and values together.
func sizeOf(name string, values []string) int {
	n := 0
	for _, value := range values {
		n += len(name) + len(value)
	}
	return n
}

// keeps reports whether the header called name, in canonical form, is stored.
func (v *Verifier) keeps(name string) bool {
	switch {
	case strings.HasPrefix(name, "Content-"):
		// The length is of the request; of a batch, an event is a part. A signature
		// is a credential, also where a check of one's own forgets to hide it.
		if name == "Content-Length" || strings.Contains(name, "Signature") || strings.Contains(name, "Hmac") {
			return false
		}
	case name == "User-Agent", name == "Traceparent":
	case !matchesAny(v.Keep, name):
		return false
	}
	return !isCredential(name) && !matchesAny(v.Hide, name)
}

// isCredential reports whether a header is never stored, for any sender.
func isCredential(name string) bool {
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie":
		return true
	}
	return false
}

// matchesAny reports whether name fits one of the patterns: names in any case, a
// "*" at the end for all that begin so.
func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
				return true
			}
		} else if strings.EqualFold(name, p) {
			return true
		}
	}
	return false
}
