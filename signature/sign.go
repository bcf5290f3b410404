package signature

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/surehook/webhook"
)

// sign is the webhook.Verifier.Sign of a scheme. It sets the headers of the
// event's id and type, of the time and of the signatures; what stands in the body
// is the caller's. A request without a body takes the event's.
func (c *checker) sign(r *webhook.Request, e webhook.Event) error {
	if err := c.signWith(r, e); err != nil {
		return fmt.Errorf("webhook: sign for %s: %w", c.Name, err)
	}
	return nil
}

func (c *checker) signWith(r *webhook.Request, e webhook.Event) error {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if r.Body == nil {
		r.Body = e.Body
	}
	keys, err := c.signingKeys(r.Secrets, at)
	if err != nil {
		return err
	}
	entries := c.setParts(r, e, at)

	// As for a request that came: what is signed is read back from the headers.
	r.Header[c.Header] = []string{strings.Join(append(entries, c.Prefix+"-"), c.Separator)}
	var claim claim
	if err := c.read(r, &claim); err != nil {
		delete(r.Header, c.Header)
		return err
	}
	for _, k := range keys {
		entries = append(entries, c.signature(k, r.Body, &claim))
	}
	r.Header[c.Header] = []string{strings.Join(entries, c.Separator)}
	return nil
}

// signingKeys returns the keys to sign with: of all secrets that are valid, or of
// the first where the header has room for one signature.
func (c *checker) signingKeys(secrets []webhook.Secret, at time.Time) ([]*key, error) {
	var keys []*key
	for _, s := range secrets {
		if s.Value == "" || !s.Until.IsZero() && !at.Before(s.Until) {
			continue
		}
		k, err := c.key(s.Value)
		if err != nil {
			return nil, fmt.Errorf("secret %s %w", s, err)
		}
		if k.mac == nil && k.private == nil {
			return nil, fmt.Errorf("secret %s is an ed25519 public key, which verifies: only the sender's private key signs", s)
		}
		keys = append(keys, k)
		if c.Separator == "" {
			break
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no secret in Request.Secrets is valid at Request.Time")
	}
	return keys, nil
}

// setParts sets the headers that hold what e and at say, and returns the entries
// that do.
func (c *checker) setParts(r *webhook.Request, e webhook.Event, at time.Time) (entries []string) {
	for _, p := range []struct {
		part  Part
		value string
	}{
		{c.ID, e.ID},
		{c.Type, e.Type},
		{c.Subject, e.Subject},
		{c.Sent.part, c.Sent.format.spell(at)},
	} {
		switch {
		case p.value == "":
		case p.part.kind == header:
			r.Header.Set(p.part.name, p.value)
		case p.part.kind == entry:
			entries = append(entries, p.part.name+p.value)
		}
	}
	return entries
}
