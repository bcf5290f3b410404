// Package signature declares how a sender signs its requests: one declaration
// verifies them, and signs like the sender for tests.
//
// Most senders sign with an HMAC, some with ed25519, and differ in few respects:
// which header has the signature, what stands around it, what is signed, and
// where the event's id is. A [Scheme] names these, and [Scheme.Verifier] makes a [webhook.Verifier]
// of them:
//
//	acme, err := signature.Scheme{
//		Name:      "acme",
//		Header:    "Acme-Signature",                // t=1700000000,v1=5257a8…
//		Separator: ",",
//		Prefix:    "v1=",
//		Signed:    []signature.Part{signature.Entry("t="), signature.Text("."), signature.Body()},
//		Sent:      signature.Seconds(signature.Entry("t=")),
//		ID:        signature.JSON("id"),
//		Type:      signature.JSON("type"),
//	}.Verifier(os.Getenv("ACME_SECRET"))
//
// Whether the signature covers the id and the type is not declared: it follows
// from Signed, and stands in the events' Proof.
//
// Package provider has the schemes of known senders. Where a declaration does not
// reach, a [webhook.Verifier] with a Check of one's own does.
package signature

import (
	"crypto"
	"crypto/ed25519"
	"crypto/fips140"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	// The hashes that a Scheme may name.
	_ "crypto/sha1" //nolint:gosec // some senders have nothing better, and HMAC-SHA1 is not broken
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/surehook/webhook"
)

// Scheme declares how one sender signs.
//
// Header, in one line or several, holds entries with Separator between them, or
// each line is a single entry. Those that begin with Prefix, or Ed25519, are
// signatures, in the given Encoding and no other spelling of it; others are
// ignored, such as those of another version. A request is authentic if one of its
// signatures, 32 at most, 4 of ed25519, fits one of the secrets.
type Scheme struct {
	Name      string      // the sender, for logs: "acme"; required
	Header    string      // that has the signatures; required
	Separator string      // between the entries of Header; empty: a line is one entry
	Prefix    string      // of the entries that are signatures: "v1=", "sha256="
	Ed25519   string      // of those that are of ed25519, where it is not Prefix: "v1a,"
	Encoding  Encoding    // default Hex
	Hash      crypto.Hash // of HMAC: SHA1, SHA256, SHA384 or SHA512; default SHA256

	// Key makes the key of a secret as its sender shows it, and chooses the
	// algorithm with it: HMAC, Ed25519Public or Ed25519Private. Its error names
	// the format that is expected, and nothing of the secret. Default RawKey.
	Key func(secret string) (Key, error)

	// Signed is what is signed, in that order; default the body alone. Body must
	// be among it: otherwise one signature would fit any body. A sender that signs
	// less is checked by a Verifier.Check of one's own, which says so. A header
	// or entry in it must be there in each request, and must not hold the Text
	// before or behind it: what is signed could be cut in two ways. For that
	// reason it has a Text towards other parts too, unless it or its neighbour is
	// Sent, which no other cut leaves a time of now.
	Signed []Part

	// Sent is when the request was signed. It must be covered by Signed, and is
	// held against Verifier.Tolerance. Zero: the sender signs no time, and a
	// request that somebody captured is as good as new at any time.
	Sent Time

	ID      Part // of the event; zero or none there: the digest of the body
	Type    Part
	Subject Part
	Time    Time // when the event happened; one that cannot be read is left out

	// Keys are values that the sender uses once, such as a token, and signs: each
	// must be covered by Signed. An event is known if one of them is, whatever its
	// ID. They stand in Proof.Keys; one that a request has not is left out.
	Keys []Part

	Keep []string // Verifier.Keep: headers that events keep beside the usual ones

	// Handshake answers the requests that are no events, such as the one that
	// asks for a challenge back: what it returns, if not nil, ends the request.
	// It runs once the signature and the time hold, and before anything is stored.
	Handshake func(r *webhook.Request, e webhook.Event) *webhook.Answer
}

// Verifier returns the Verifier of the scheme for the secrets given, any of which
// may fit: the new one and the old one while a secret is rotated. Its fields may
// be changed: Tolerance, Horizon, BodyLimit, NoDigest, and BaseURL, which a scheme
// that signs URL needs.
//
// The error names the secret by its position, with the format expected, or what
// contradicts itself in the scheme. With no secret at all, Secrets is left nil
// for the caller to set: a function of the request, for many tenants. Keys of
// secrets given here are prepared once; those of secrets that come from a
// function are at each request.
func (s Scheme) Verifier(secrets ...string) (webhook.Verifier, error) {
	c, err := newChecker(s)
	if err != nil {
		return webhook.Verifier{}, fmt.Errorf("webhook: scheme %q %w", s.Name, err)
	}
	v := webhook.Verifier{
		Check:  c.check,
		Sign:   c.sign,
		Preset: s.Name,
		Keep:   c.Keep,
		Hide:   []string{c.Header},
	}
	if len(secrets) == 0 {
		return v, nil
	}
	fixed := make([]webhook.Secret, len(secrets))
	for i, value := range secrets {
		if err := c.prepare(value); err != nil {
			return webhook.Verifier{}, fmt.Errorf("webhook: %s: secret %d of %d %w", s.Name, i+1, len(secrets), err)
		}
		fixed[i] = webhook.Secret{Value: value}
		fixed[i].ID = fixed[i].String() // the fingerprint, made once
	}
	v.Secrets = fixedSecrets(fixed)
	return v, nil
}

// checker is a scheme that was found to be sound, with what is worked out once.
type checker struct {
	Scheme
	hmac, ed25519 form            // of signatures
	keys          map[string]*key // by secret; written before the first request
	fields        fieldSet        // the JSON fields to look up
	from          sources         // where an event's values come from
	ends          [][]string      // of each Signed part what its value must not hold

	coversID, coversType, coversTime bool
}

// source is a Part, and where a claim has its value.
type source struct {
	Part
	at int // a field's among claim.fields, another's among claim.values; -1: it is not signed, and looked up
}

// sources has one for each value that is read from an authentic request.
type sources struct {
	sent, id, eventType, subject, time source
	keys                               []source
}

// maxParts bounds Scheme.Signed, so that its values fit on the stack.
const maxParts = 12

func newChecker(s Scheme) (*checker, error) {
	s.Header = http.CanonicalHeaderKey(s.Header)
	if s.Ed25519 == "" {
		s.Ed25519 = s.Prefix
	}
	if s.Key == nil {
		s.Key = RawKey
	}
	if s.Hash == 0 {
		s.Hash = crypto.SHA256
	}
	if len(s.Signed) == 0 {
		s.Signed = []Part{Body()}
	}
	s.Signed, s.Keys, s.Keep = slices.Clone(s.Signed), slices.Clone(s.Keys), slices.Clone(s.Keep)
	c := &checker{Scheme: s, keys: map[string]*key{}}
	for _, p := range s.readParts() {
		if p.kind == field {
			c.fields.add(p.name)
		}
	}
	if err := c.sound(); err != nil {
		return nil, err
	}
	if err := c.setEnds(); err != nil {
		return nil, err
	}
	c.hmac = form{s.Prefix, s.Hash.Size(), s.Encoding.length(s.Hash.Size())}
	c.ed25519 = form{s.Ed25519, ed25519.SignatureSize, s.Encoding.length(ed25519.SignatureSize)}
	c.from = sources{
		sent: c.sourceOf(s.Sent.part), id: c.sourceOf(s.ID), eventType: c.sourceOf(s.Type),
		subject: c.sourceOf(s.Subject), time: c.sourceOf(s.Time.part),
	}
	for _, p := range s.Keys {
		c.from.keys = append(c.from.keys, c.sourceOf(p))
	}
	c.coversID, c.coversType, c.coversTime = s.covers(s.ID), s.covers(s.Type), s.covers(s.Time.part)
	return c, nil
}

// readParts returns the parts that are read from an authentic request.
func (s Scheme) readParts() []Part {
	return append([]Part{s.Sent.part, s.ID, s.Type, s.Subject, s.Time.part}, s.Keys...)
}

func (c *checker) sourceOf(p Part) source {
	if p.kind == field {
		return source{p, slices.Index(c.fields.names, p.name)}
	}
	return source{p, slices.Index(c.Signed, p)}
}

// sound returns what contradicts itself in the scheme, or is missing.
func (c *checker) sound() error {
	switch {
	case c.Name == "":
		return errors.New("has no Name")
	case c.Header == "":
		return errors.New("has no Header")
	case !slices.Contains([]crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}, c.Hash):
		return errors.New("has a Hash that is not SHA1, SHA256, SHA384 or SHA512")
	case c.Hash == crypto.SHA1 && fips140.Enforced():
		return errors.New("has the Hash SHA1, which GODEBUG=fips140=only does not allow")
	case c.Encoding > Base64:
		return errors.New("has an Encoding that is not Hex or Base64")
	case c.Encoding == Base64 && strings.ContainsAny(c.Separator, "+/="):
		return errors.New("has a Separator that base64 uses")
	case len(c.fields.names) > maxFields:
		return fmt.Errorf("reads %d fields of the body, at most %d are possible", len(c.fields.names), maxFields)
	}
	if err := c.soundSigned(); err != nil {
		return err
	}
	for _, p := range c.readParts() {
		switch {
		case p.kind != none && p.kind < header:
			return errors.New("takes Sent, ID, Type, Subject, Time or Keys from something else than a Header, an Entry or JSON")
		case p.kind == field && strings.Count(p.name, ".") >= maxDepth:
			return fmt.Errorf("has JSON(%q), with more than %d keys", p.name, maxDepth)
		}
	}
	return nil
}

// soundSigned is the part of sound that is about what the signature covers.
func (c *checker) soundSigned() error {
	if len(c.Signed) > maxParts {
		return fmt.Errorf("has %d parts in Signed, at most %d are possible", len(c.Signed), maxParts)
	}
	for _, p := range c.Signed {
		if p.kind == none || p.kind == field {
			return errors.New("has a Signed part that is not Text, Body, Method, URL, Path, Header or Entry: a field of the body is not read before the body is believed")
		}
	}
	if c.Sent.part != (Part{}) && !c.covers(c.Sent.part) {
		return errors.New("has a Sent that Signed does not cover: a time that nobody signed proves nothing")
	}
	if !c.covers(Body()) {
		return errors.New("has a Signed without Body: one signature would fit any body")
	}
	for _, p := range c.Keys {
		if !c.covers(p) {
			return errors.New("has Keys that Signed does not cover: whoever replays a request would change them")
		}
	}
	return nil
}

// setEnds finds the constants that part a header or an entry from what is signed
// beside it. The others have an alphabet or a place of their own.
func (c *checker) setEnds() error {
	c.ends = make([][]string, len(c.Signed))
	before, between := -1, "" // the last part that is no Text, and the Texts since
	for i, p := range c.Signed {
		if p.kind == text {
			between += p.name
			continue
		}
		if before >= 0 {
			if err := c.part(before, i, between); err != nil {
				return err
			}
		}
		before, between = i, ""
	}
	if before >= 0 && between != "" && c.Signed[before].cuttable() {
		c.ends[before] = append(c.ends[before], between)
	}
	return nil
}

// part notes that between stands between two Signed parts, or returns what is wrong
// if nothing does.
func (c *checker) part(a, b int, between string) error {
	left, right := c.Signed[a], c.Signed[b]
	sent := c.Sent.part
	if between == "" {
		if (left.cuttable() || right.cuttable()) && left != sent && right != sent {
			return fmt.Errorf("has %s and %s side by side in Signed, neither of them Sent: one signature would fit another cut of them", c.place(left), c.place(right))
		}
		return nil
	}
	for _, i := range [...]int{a, b} {
		if c.Signed[i].cuttable() {
			c.ends[i] = append(c.ends[i], between)
		}
	}
	return nil
}

// cuttable reports whether p's value is any text: that of a header or an entry.
func (p Part) cuttable() bool { return p.kind == header || p.kind == entry }

// covers reports whether the signature covers p.
func (s Scheme) covers(p Part) bool {
	if p.kind == field {
		p = Body()
	}
	return slices.Contains(s.Signed, p)
}

// prepare makes the key of a secret that stays.
func (c *checker) prepare(secret string) error {
	k, err := c.newKey(secret)
	if err != nil {
		return err
	}
	c.keys[secret] = k
	return nil
}
