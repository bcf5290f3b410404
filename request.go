package webhook

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/surehook/webhook/internal/refusal"
)

// Request is what is signed and verified: of an *http.Request what the checks of
// senders need, and all that is there where none exists. Header may have names
// in any case. Not for concurrent use.
type Request struct {
	Method  string   // empty: not looked at
	URL     *url.URL // as the sender knows it, without scheme and host unless there is a Verifier.BaseURL; nil where no check needs it
	Header  http.Header
	Body    []byte
	Time    time.Time // when it arrived or is sent; zero: now, and set by Verify
	Secrets []Secret  // in a Check those that Verifier.Secrets found, without the empty and the expired; for a Signer those to sign with

	http      *http.Request // nil without net/http
	tolerance time.Duration // the verifier's, as in Verifier.Tolerance
	tried     int           // secrets that Try was offered to
	fitted    *Secret       // noted by Try
	timed     bool          // Fresh was asked
	ahead     time.Duration // by how much the time that it was asked about is ahead of Time
}

// PathValue returns what the mux's wildcard matched, as [http.Request.PathValue]:
// a tenant in the path, for Verifier.Secrets. It is empty without net/http.
func (r *Request) PathValue(name string) string {
	if r.http == nil {
		return ""
	}
	return r.http.PathValue(name)
}

// Fresh returns [ErrStale] unless t is within the verifier's tolerance of r.Time,
// on either side. It says something about a time only if that is signed.
func (r *Request) Fresh(t time.Time) error {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	ahead := t.Sub(at) // saturates, so that no far-off time wraps around
	r.timed, r.ahead = true, ahead
	tolerance := r.tolerance
	switch {
	case tolerance < 0:
		return nil
	case tolerance == 0:
		tolerance = defaultTolerance
	}
	if -tolerance <= ahead && ahead <= tolerance {
		return nil
	}
	text := fmt.Sprintf("signed %s before it arrived", inWords(-max(ahead, -maxSkew)))
	if ahead > 0 {
		text = fmt.Sprintf("signed %s after it arrived", inWords(min(ahead, maxSkew)))
	}
	return &refusal.Error{
		Cause: refusal.Clock, Err: ErrStale, Skew: ahead,
		Text: text + fmt.Sprintf(", tolerated are %s: a replay, a late retry with its first signature, or a clock that is off", tolerance),
	}
}

// inWords writes a span as a person reads it: a long one in days.
func inWords(d time.Duration) string {
	const day = 24 * time.Hour
	if d < 2*day {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d days", d/day)
}

// maxSkew is the largest skew that is told exactly; it also can be negated.
const maxSkew = 100 * 365 * 24 * time.Hour

// Try returns whether ok holds for one of the secrets, in their order, and notes
// which: it gives the events their Tenant and Proof.SecretID. ok is to compare in
// constant time, as [crypto/hmac.Equal] does; it never sees an empty or expired
// secret.
func (r *Request) Try(ok func(s Secret) bool) bool {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	for i := range r.Secrets {
		s := &r.Secrets[i]
		if !s.usable(at) {
			continue
		}
		r.tried++
		if ok(*s) {
			r.fitted = s
			return true
		}
	}
	return false
}

// begin makes r ready for a check, whatever it was used for before.
func (r *Request) begin(tolerance time.Duration) {
	r.tolerance, r.tried, r.fitted = tolerance, 0, nil
	r.timed, r.ahead = false, 0
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
}

// canonicalHeader returns h with its names in canonical form: h itself where
// they have it, as behind net/http.
func canonicalHeader(h http.Header) http.Header {
	for name := range h {
		if !isCanonical(name) {
			return canonicalCopy(h)
		}
	}
	return h
}

func canonicalCopy(h http.Header) http.Header {
	c := make(http.Header, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		canonical := http.CanonicalHeaderKey(name)
		c[canonical] = append(c[canonical], h[name]...)
	}
	return c
}

// isCanonical is a quick look at the case of the letters alone: what else
// [http.CanonicalHeaderKey] minds is in no header that a check asks for.
func isCanonical(name string) bool {
	first := true // letter of a word
	for i := range len(name) {
		c := name[i]
		if first && 'a' <= c && c <= 'z' || !first && 'A' <= c && c <= 'Z' {
			return false
		}
		first = c == '-'
	}
	return true
}
