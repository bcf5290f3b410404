package signature

import (
	"context"
	"fmt"
	"strings"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/internal/refusal"
)

// maxEntries bounds the entries of the signature headers of one request: a sender
// that rotates has a handful, a forger may send ten thousand.
const maxEntries = 32

// fixedSecrets returns a function for secrets that do not change.
func fixedSecrets(secrets []webhook.Secret) func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
	return func(context.Context, *webhook.Request) ([]webhook.Secret, error) { return secrets, nil }
}

// claim is what a request says, the fields of its body once it is believed.
type claim struct {
	found  [maxEntries]string
	n      int              // how many were found
	values [maxParts]string // of those Signed parts that are the request's
	fields fieldTexts
}

// entries returns those that begin as signatures do.
func (c *claim) entries() []string { return c.found[:c.n] }

// check is the webhook.Verifier.Check of a scheme.
func (c *checker) check(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
	var claim claim
	if err := c.read(r, &claim); err != nil {
		return nil, err
	}
	var t trial
	if !r.Try(func(s webhook.Secret) bool {
		key, err := c.key(s.Value)
		if err != nil {
			t.bad++
			return false
		}
		t.add(key)
		return c.fits(key, r, &claim)
	}) {
		return nil, c.misfit(&claim, t)
	}
	c.fields.read(r.Body, &claim.fields)
	if err := c.fresh(r, &claim); err != nil {
		return nil, err
	}
	events := make([]webhook.Event, 1)
	if err := c.event(r, &claim, &events[0]); err != nil {
		return nil, err
	}
	if c.Handshake != nil {
		e := events[0]
		e.Body = r.Body
		if answer := c.Handshake(r, e); answer != nil {
			return nil, answer
		}
	}
	return events, nil
}

// read collects the signatures and the signed values of a request.
func (c *checker) read(r *webhook.Request, claim *claim) error {
	if err := c.readSignatures(r, claim); err != nil {
		return err
	}
	for i, p := range c.Signed {
		if p.kind == text || p.kind == body {
			continue
		}
		value, err := c.signed(r, p)
		if err != nil {
			return err
		}
		for _, end := range c.ends[i] {
			if strings.Contains(value, end) {
				return &refusal.Error{
					Cause: refusal.BadHeader, Err: webhook.ErrMalformed,
					Text: fmt.Sprintf("%s holds %q, which ends it in what is signed", c.place(p), end),
				}
			}
		}
		claim.values[i] = value
	}
	return nil
}

func (c *checker) readSignatures(r *webhook.Request, claim *claim) error {
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
			if c.isSignature(e) {
				claim.found[claim.n] = e
				claim.n++
			}
		}
	}
	switch {
	case !there:
		return c.unsigned(r, c.Header)
	case claim.n == 0:
		return c.noSignature(r)
	default:
		return nil
	}
}

// isSignature reports whether an entry begins as a signature does, and goes on.
func (c *checker) isSignature(e string) bool {
	return len(e) > len(c.Prefix) && strings.HasPrefix(e, c.Prefix) ||
		len(e) > len(c.Ed25519) && strings.HasPrefix(e, c.Ed25519)
}

// signed returns the value of a signed part, which must be there.
func (c *checker) signed(r *webhook.Request, p Part) (string, error) {
	switch {
	case p.kind == header || p.kind == entry:
		value, err := c.lookup(r, p)
		if err == nil && value == "" {
			err = c.missing(r, p)
		}
		return value, err
	case p.kind == method && r.Method == "":
		return "", unknown("the method, and Request.Method is empty")
	case p.kind == method:
		return r.Method, nil
	case r.URL == nil:
		return "", unknown("the URL, and Request.URL is nil: set it, as the sender knows it")
	case p.kind == target:
		return targetOf(r.URL), nil
	case r.URL.Scheme == "" || r.URL.Host == "":
		return "", unknown("the URL, and of this request only the path is known: set Verifier.BaseURL, such as https://hooks.example.com, or a Request.URL with scheme and host")
	default:
		return addressOf(r.URL), nil
	}
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

// fresh holds the signed time, if there is one, against the tolerance.
func (c *checker) fresh(r *webhook.Request, claim *claim) error {
	if (c.Sent == Time{}) {
		return nil
	}
	spelt, err := c.value(r, claim, &c.from.sent)
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
	if err == nil {
		return nil
	}
	if unit := c.Sent.format.misread(t); unit != "" {
		err = fmt.Errorf("%w; %s looks like %s", err, c.place(c.Sent.part), unit)
	}
	return err
}

// maxYear bounds the time of an event: a later one is in another unit, and package
// json writes none.
const maxYear = 9999

// event reads the event of a request that is authentic.
func (c *checker) event(r *webhook.Request, claim *claim, e *webhook.Event) (err error) {
	if e.ID, err = c.value(r, claim, &c.from.id); err != nil {
		return err
	}
	if e.Type, err = c.value(r, claim, &c.from.eventType); err != nil {
		return err
	}
	if e.Subject, err = c.value(r, claim, &c.from.subject); err != nil {
		return err
	}
	at, err := c.value(r, claim, &c.from.time)
	if err != nil {
		return err
	}
	if at != "" { // an error of package time costs as much as half a hash
		if t, ok := c.Time.format.parse(at); ok && t.Year() <= maxYear {
			e.Time, e.Proof.Time = t, c.coversTime
		}
	}
	for i := range c.from.keys {
		from := &c.from.keys[i]
		value, err := c.value(r, claim, from)
		if err != nil {
			return err
		}
		if value != "" {
			e.Proof.Keys = append(e.Proof.Keys, replayKey(from.Part, value))
		}
	}
	e.Proof.ID = c.coversID && e.ID != ""
	e.Proof.Type = c.coversType && e.Type != ""
	return nil
}

// replayKey returns a key that no value of another part can be.
func replayKey(p Part, value string) []byte {
	return []byte(p.kind.String() + " " + p.name + "\x00" + value)
}

// value returns the text of a part, empty where there is none.
func (c *checker) value(r *webhook.Request, claim *claim, from *source) (string, error) {
	switch {
	case from.kind == none:
		return "", nil
	case from.kind == field:
		return claim.fields[from.at], nil
	case from.at >= 0:
		return claim.values[from.at], nil
	default:
		return c.lookup(r, from.Part)
	}
}
