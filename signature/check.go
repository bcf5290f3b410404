package signature

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/internal/mac"
	"github.com/surehook/webhook/internal/refusal"
)

// maxEntries bounds the entries of the signature headers of one request: a sender
// that rotates has a handful, a forger may send ten thousand.
const maxEntries = 32

// fixedSecrets returns a function for secrets that do not change.
func fixedSecrets(secrets []webhook.Secret) func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
	return func(context.Context, *webhook.Request) ([]webhook.Secret, error) { return secrets, nil }
}

// claim is what a request says about its signature, before it is believed.
type claim struct {
	found  [maxEntries]string
	n      int              // how many were found
	values [maxParts]string // of those Signed parts that are headers and entries
}

func (c *claim) signatures() []string { return c.found[:c.n] }

// check is the webhook.Verifier.Check of a scheme.
func (c *checker) check(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
	var claim claim
	if err := c.read(r, &claim); err != nil {
		return nil, err
	}
	tried, bad := 0, 0
	if !r.Try(func(s webhook.Secret) bool {
		key, err := c.key(s.Value)
		if err != nil {
			bad++
			return false
		}
		tried++
		return c.fits(key, r, &claim)
	}) {
		return nil, c.misfit(&claim, tried, bad)
	}
	var fields fieldValues
	c.fields.read(r.Body, &fields)
	if err := c.fresh(r, &fields); err != nil {
		return nil, err
	}
	events := make([]webhook.Event, 1)
	if err := c.event(r, &fields, &events[0]); err != nil {
		return nil, err
	}
	return events, nil
}

// read collects the signatures and the signed values of a request.
func (c *checker) read(r *webhook.Request, claim *claim) error {
	there := false
	entries := 0
	for _, line := range r.Header[c.Header] {
		there = there || line != ""
		for rest, more := line, true; more; {
			var e string
			e, rest, more = c.nextEntry(rest)
			if entries++; entries > maxEntries {
				return &refusal.Error{
					Cause: refusal.BadHeader, Err: webhook.ErrMalformed,
					Text: fmt.Sprintf("%s has more than %d entries", c.Header, maxEntries),
				}
			}
			if sig, ok := strings.CutPrefix(e, c.Prefix); ok && sig != "" {
				claim.found[claim.n] = sig
				claim.n++
			}
		}
	}
	switch {
	case !there:
		return c.unsigned(r, c.Header)
	case claim.n == 0:
		return &refusal.Error{
			Cause: refusal.BadHeader, Err: webhook.ErrSignature,
			Text: fmt.Sprintf("%s has no entry that begins with %q", c.Header, c.Prefix),
		}
	}
	for i, p := range c.Signed {
		if p.kind != header && p.kind != entry {
			continue
		}
		value, err := c.lookup(r, p)
		if err != nil {
			return err
		}
		if value == "" {
			return c.missing(r, p)
		}
		if i+1 < len(c.Signed) {
			if end := c.Signed[i+1]; end.kind == text && strings.Contains(value, end.name) {
				return &refusal.Error{
					Cause: refusal.BadHeader, Err: webhook.ErrMalformed,
					Text: fmt.Sprintf("%s holds %q, which ends it in what is signed", c.place(p), end.name),
				}
			}
		}
		claim.values[i] = value
	}
	return nil
}

// nextEntry cuts the first entry off the rest of a signature header.
func (c *checker) nextEntry(s string) (e, rest string, more bool) {
	if c.Separator == "" {
		return s, "", false
	}
	e, rest, more = strings.Cut(s, c.Separator)
	// A proxy that joins two lines of a header puts a space behind the comma.
	return strings.Trim(e, " "), rest, more
}

// lookup returns the value of a header or an entry, empty where there is none. An
// entry that stands in two lines of the header alike is one.
func (c *checker) lookup(r *webhook.Request, p Part) (string, error) {
	var value string
	found := 0
	if p.kind == header {
		lines := r.Header[p.name]
		if found = len(lines); found == 1 {
			value = lines[0]
		}
	} else {
		for _, line := range r.Header[c.Header] {
			for rest, more := line, true; more; {
				var e string
				e, rest, more = c.nextEntry(rest)
				if v, ok := strings.CutPrefix(e, p.name); ok && (found == 0 || v != value) {
					value = v
					found++
				}
			}
		}
	}
	if found > 1 {
		return "", &refusal.Error{
			Cause: refusal.BadHeader, Err: webhook.ErrMalformed,
			Text: c.place(p) + " is there more than once",
		}
	}
	return value, nil
}

// key returns the prepared key of a secret.
func (c *checker) key(secret string) (*mac.Key, error) {
	if k := c.keys[secret]; k != nil {
		return k, nil
	}
	raw, err := c.Key(secret)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, errors.New("gives an empty key")
	}
	return mac.NewKey(c.newHash, raw), nil
}

// fits reports whether one of the signatures is that of key. All of them are
// compared, whichever fits.
func (c *checker) fits(key *mac.Key, r *webhook.Request, claim *claim) bool {
	s := key.Begin()
	defer s.End()
	var buf [mac.MaxEncoded]byte
	expected := c.sum(s, buf[:0], r.Body, claim)
	fit := 0
	for _, sig := range claim.signatures() {
		fit |= s.Equal(sig, expected)
	}
	return fit == 1
}

// sum appends to dst the signature of what is signed, as it is spelt.
func (c *checker) sum(s *mac.State, dst, b []byte, claim *claim) []byte {
	for i, p := range c.Signed {
		switch p.kind {
		case text:
			s.WriteString(p.name)
		case body:
			s.Write(b)
		default:
			s.WriteString(claim.values[i])
		}
	}
	if c.Encoding == Base64 {
		return base64.StdEncoding.AppendEncode(dst, s.Sum())
	}
	return hex.AppendEncode(dst, s.Sum())
}

// fresh holds the signed time, if there is one, against the tolerance.
func (c *checker) fresh(r *webhook.Request, fields *fieldValues) error {
	if (c.Sent == Time{}) {
		return nil
	}
	spelt, err := c.value(r, c.Sent.part, fields)
	if err != nil {
		return err
	}
	t, ok := c.Sent.format.parse(spelt)
	if !ok {
		return &refusal.Error{
			Cause: refusal.BadHeader, Err: webhook.ErrMalformed,
			Text: fmt.Sprintf("%s is not %s", c.place(c.Sent.part), c.Sent.format),
		}
	}
	err = r.Fresh(t)
	if unit := c.Sent.format.misread(t); err != nil && unit != "" {
		err = fmt.Errorf("%w; %s looks like %s", err, c.place(c.Sent.part), unit)
	}
	return err
}

// event reads the event of a request that is authentic.
func (c *checker) event(r *webhook.Request, fields *fieldValues, e *webhook.Event) (err error) {
	if e.ID, err = c.value(r, c.ID, fields); err != nil {
		return err
	}
	if e.Type, err = c.value(r, c.Type, fields); err != nil {
		return err
	}
	if e.Subject, err = c.value(r, c.Subject, fields); err != nil {
		return err
	}
	at, err := c.value(r, c.Time.part, fields)
	if err != nil {
		return err
	}
	if t, ok := c.Time.format.parse(at); ok {
		e.Time, e.Proof.Time = t, c.coversTime
	}
	e.Proof.ID = c.coversID && e.ID != ""
	e.Proof.Type = c.coversType && e.Type != ""
	return nil
}

// value returns the text of a part, empty where there is none.
func (c *checker) value(r *webhook.Request, p Part, fields *fieldValues) (string, error) {
	switch p.kind {
	case header, entry:
		return c.lookup(r, p)
	case field:
		return c.fields.value(fields, p.name), nil
	default:
		return "", nil
	}
}

// place names a part in a diagnosis.
func (c *checker) place(p Part) string {
	switch p.kind {
	case header:
		return p.name
	case entry:
		return fmt.Sprintf("the entry %q of %s", p.name, c.Header)
	default:
		return fmt.Sprintf("the field %q of the body", p.name)
	}
}

// unsigned is the refusal of a request without the header called name.
func (c *checker) unsigned(r *webhook.Request, name string) error {
	if sender, h := refusal.LooksLike(r.Header, c.Header); sender != "" {
		return &refusal.Error{
			Cause: refusal.OtherSender, Err: webhook.ErrSignature,
			Text: fmt.Sprintf("%s is missing, and there is %s: this looks like a request of %s", name, h, sender),
		}
	}
	return &refusal.Error{
		Cause: refusal.NoHeader, Err: webhook.ErrSignature,
		Text: name + " is missing or empty: the request is not signed, or a proxy took the header away",
	}
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

// misfit is the refusal of a request that no secret fits.
func (c *checker) misfit(claim *claim, tried, bad int) error {
	e := &refusal.Error{Cause: refusal.Signature, Err: webhook.ErrSignature, Tried: tried}
	formed := 0
	for _, sig := range claim.signatures() {
		if len(sig) == c.encoded {
			formed++
		}
	}
	switch {
	case tried == 0:
		e.Text = fmt.Sprintf("none of %d secrets is in the format of %s", bad, c.Name)
	case formed == 0:
		e.Cause = refusal.BadHeader
		e.Text = fmt.Sprintf("a signature in %s has %d characters, none of %d in the request has", c.Header, c.encoded, claim.n)
	default:
		e.Text = fmt.Sprintf("secrets tried: %d, signatures: %d; the secret is another endpoint's, or the body was changed on its way (a proxy, a parser)", tried, formed)
	}
	if tried > 0 && bad > 0 {
		e.Text += fmt.Sprintf("; %d further secrets are not in the format of %s", bad, c.Name)
	}
	return e
}
