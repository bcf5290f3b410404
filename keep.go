package webhook

import (
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
	// On the stack: eight are enough for most senders.
	var few [8]headerField
	fields, size := few[:0], 0
	for name, values := range h {
		if v.keeps(name) {
			f := headerField{name, values}
			fields = append(fields, f)
			size += f.size()
		}
	}
	if len(fields) == 0 {
		return nil
	}
	if size > maxHeaders {
		slices.SortFunc(fields, func(a, b headerField) int { return strings.Compare(a.name, b.name) })
	}
	kept := make(http.Header, len(fields))
	size = 0
	for _, f := range fields {
		if size += f.size(); size > maxHeaders {
			break
		}
		kept[f.name] = slices.Clip(f.values)
	}
	return kept
}

type headerField struct {
	name   string
	values []string
}

// size is what the field takes, names and values together.
func (f headerField) size() int {
	n := 0
	for _, value := range f.values {
		n += len(f.name) + len(value)
	}
	return n
}

// keeps reports whether the header called name, in canonical form, is stored.
func (v *Verifier) keeps(name string) bool {
	switch {
	case strings.HasPrefix(name, "Content-"):
		// The length is of the request; of a batch, an event is a part.
		if name == "Content-Length" {
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
