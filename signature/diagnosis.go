package signature

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/internal/refusal"
)

// place names a part in a diagnosis.
func (c *checker) place(p Part) string {
	switch p.kind {
	case header:
		return p.name
	case entry:
		return fmt.Sprintf("the entry %q of %s", p.name, c.Header)
	case body:
		return "the body"
	case method:
		return "the method"
	case address, target:
		return "the URL"
	default:
		return fmt.Sprintf("the field %q of the body", p.name)
	}
}

// unsigned is the refusal of a request without the header called name.
func (c *checker) unsigned(r *webhook.Request, name string) error {
	return refusal.Unsigned(r.Header, name, c.Header, webhook.ErrSignature)
}

// missing is the refusal of a request without a part that is signed.
func (c *checker) missing(r *webhook.Request, p Part) error {
	if p.kind == header {
		return c.unsigned(r, p.name)
	}
	return &refusal.Error{
		Cause: refusal.BadHeader, Err: webhook.ErrSignature,
		Text: c.place(p) + " is missing",
	}
}

// unknown is the refusal of a request of which we do not know what is signed.
func unknown(what string) error {
	return &refusal.Error{Cause: refusal.Unconfigured, Text: "the sender signs " + what}
}

// noSignature is the refusal of a request with no entry that is a signature.
func (c *checker) noSignature(r *webhook.Request) error {
	e := &refusal.Error{
		Cause: refusal.BadHeader, Err: webhook.ErrSignature,
		Text: fmt.Sprintf("%s has no entry that begins with %q", c.Header, c.Prefix),
	}
	if c.Ed25519 != c.Prefix {
		e.Text += fmt.Sprintf(" or %q", c.Ed25519)
	}
	for _, line := range r.Header[c.Header] {
		for rest, more := line, true; more; {
			var entry string
			if entry, rest, more = c.nextEntry(rest); len(entry) == c.hmac.encoded {
				e.Text += fmt.Sprintf("; one is as long as a signature, %d characters, without it: is Prefix wrong?", len(entry))
				return e
			}
		}
	}
	return e
}

// trial is what was tried on a request.
type trial struct {
	secrets, bad  int  // how many, and how many more have another format
	hmac, ed25519 bool // whether there was a key of it
}

func (t *trial) add(k *key) {
	t.secrets++
	t.hmac = t.hmac || k.mac != nil
	t.ed25519 = t.ed25519 || k.mac == nil
}

// misfit is the refusal of a request that no secret fits.
func (c *checker) misfit(claim *claim, t trial) error {
	e := &refusal.Error{Cause: refusal.Signature, Err: webhook.ErrSignature, Tried: t.secrets}
	formed := 0
	if t.hmac {
		formed += c.hmac.count(claim)
	}
	if t.ed25519 {
		formed += c.ed25519.count(claim)
	}
	switch {
	case t.secrets == 0:
		e.Text = fmt.Sprintf("none of %d secrets is in the format of %s", t.bad, c.Name)
	case t.ed25519 && c.ed25519.count(claim) > maxEd25519:
		e.Cause = refusal.BadHeader
		e.Text = fmt.Sprintf("%s has more than %d signatures of ed25519: none was tried", c.Header, maxEd25519)
	case formed == 0:
		e.Cause = refusal.BadHeader
		e.Text = c.misformed(claim, t)
	case c.Encoding == Hex && (t.hmac && c.hmac.inUpperCase(claim) || t.ed25519 && c.ed25519.inUpperCase(claim)):
		e.Cause = refusal.BadHeader
		e.Text = fmt.Sprintf("a signature in %s is in upper-case hexadecimal, the scheme says lower case", c.Header)
	default:
		e.Text = fmt.Sprintf("secrets tried: %d, signatures: %d; the secret is another endpoint's, or the body was changed on its way (a proxy, a parser)", t.secrets, formed)
		if c.covers(URL()) || c.covers(Path()) {
			// Not which one was checked: its query may hold credentials.
			e.Text += "; or the URL that it signs is not this one: Verifier.BaseURL, path and query, to the letter"
		}
	}
	if t.secrets > 0 && t.bad > 0 {
		e.Text += fmt.Sprintf("; %d further secrets are not in the format of %s", t.bad, c.Name)
	}
	return e
}

// misformed says what is wrong with signatures none of which has the form that a
// key needs.
func (c *checker) misformed(claim *claim, t trial) string {
	f := c.hmac
	if !t.hmac {
		f = c.ed25519
	}
	begun := false
	for _, e := range claim.entries() {
		sig, ok := strings.CutPrefix(e, f.prefix)
		if !ok {
			continue
		}
		begun = true
		if before := prefixOf(sig, f.encoded); before != "" {
			return fmt.Sprintf("a signature in %s begins with %q: is Prefix missing?", c.Header, f.prefix+before)
		}
		for _, other := range []Encoding{Hex, Base64} {
			if other != c.Encoding && len(sig) == other.length(f.size) {
				return fmt.Sprintf("a signature in %s is as long as %s would be, the scheme says %s", c.Header, other, c.Encoding)
			}
		}
	}
	if !begun {
		return fmt.Sprintf("%s has no entry that begins with %q, only signatures of the other algorithm, whose secret this is not", c.Header, f.prefix)
	}
	return fmt.Sprintf("a signature in %s has %d characters, none of %d in the request has", c.Header, f.encoded, claim.n)
}

// prefixOf returns what stands before a signature of that length; empty unless it
// is short and ends as prefixes do, so that it is no part of a signature.
func prefixOf(sig string, encoded int) string {
	const longest = 16
	n := len(sig) - encoded
	if n < 1 || n > longest || !strings.ContainsRune("=,:", rune(sig[n-1])) {
		return ""
	}
	return sig[:n]
}

// inUpperCase reports whether one of the signatures is hexadecimal in upper case,
// which no sender mixes.
func (f form) inUpperCase(claim *claim) bool {
	for _, e := range claim.entries() {
		sig, ok := strings.CutPrefix(e, f.prefix)
		if !ok || len(sig) != f.encoded || strings.ToLower(sig) == sig {
			continue
		}
		if _, err := hex.DecodeString(sig); err == nil {
			return true
		}
	}
	return false
}
