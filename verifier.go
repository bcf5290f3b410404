package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/internal/refusal"
)

// Verifier is how one sender's requests are checked, read and kept: plain data.
// Package provider has those of known senders, package signature declares
// others, and a check of one's own is a function. Its fields may be changed
// until it is given to [Verify]; it is safe for concurrent use if its functions
// are.
//
// A check of one's own need only compare: what it is given, and what becomes of
// its result, is bounded and completed here.
//
//	webhook.Verifier{
//		Secrets: secrets,
//		Check: func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
//			if !r.Try(func(s webhook.Secret) bool { return fits(s.Value, r) }) {
//				return nil, webhook.ErrSignature
//			}
//			return []webhook.Event{{ID: r.Header.Get("X-Event-Id")}}, nil
//		},
//	}
type Verifier struct { //nolint:recvcheck // Verify takes the copy that a literal is, and copies it no further
	// Check is required. It returns the request's events: one for most senders,
	// several for those that batch (at most 10,000), none for a valid empty batch.
	// Of an event it need fill nothing:
	//
	//   - Body: default the request's.
	//   - ID: default the hex SHA-256 of Body. Where equal bodies are different
	//     events, the check must find or make an ID.
	//   - Tenant: the fitting secret's where it has one, whatever the check says.
	//   - Proof: says which fields the signature covers. If not the ID, the
	//     digest of Body becomes a replay key (see NoDigest): who captured one
	//     request cannot replay it under another ID.
	//   - Source and Headers are not the check's to fill.
	//
	// The events of a request that is not authentic must not be returned.
	// ErrSignature and ErrStale are answered with 401, ErrMalformed with 400,
	// an *Answer as it is: a handshake's reply, or a refusal of the check's own
	// wording. Any other error is a check that did not succeed, hence 401; a
	// check that cannot be made now returns an *Answer with 503. A check that
	// asked Request.Try and returns events although no secret fitted is refused
	// too.
	Check func(ctx context.Context, r *Request) ([]Event, error)

	// Secrets finds the secrets to try, before anything of r is known to be
	// true; it is asked for each request, forged ones too, and should answer
	// from memory. None is answered with 401, an error with 503. Required
	// unless Keyless.
	Secrets func(ctx context.Context, r *Request) ([]Secret, error)

	Keyless   bool          // Check needs no Secrets: JWT, mutual TLS
	Sign      Signer        // the reverse of Check, for tests and replays; nil: cannot be signed
	Preset    string        // the sender's name, for logs
	Methods   []string      // default POST; others are answered with 405
	BodyLimit int64         // in bytes; default 1 MiB; to be read within 10 s
	Tolerance time.Duration // for a signed time, on either side; default 5 min; negative: none
	Keep      []string      // headers that events keep, beside Content-*, User-Agent and traceparent: "X-Shopify-*"
	Hide      []string      // headers and query parameters that are credentials: never kept, whatever Keep says; parameters called "token", "key" and the like never are
	Horizon   time.Duration // how long the sender retries; lengthens the time that an event is known
	NoDigest  bool          // equal bodies are different events, or each retry has another: an ID that is not signed is known by itself alone
	Telemetry Telemetry

	// BaseURL is what stands before the path that this server sees in the URL
	// that the sender calls: "https://hooks.example.com", or with a prefix that a
	// proxy cuts off, "https://example.com/hooks". Request.URL is joined from
	// it and the path and query, which stay as they are spelt. Only a check of a
	// sender that signs its URL needs it; it does not follow from the request,
	// whose Host is what the sender, or a forger, writes there.
	BaseURL string
}

// The defaults of a Verifier.
const (
	defaultBodyLimit = 1 << 20
	defaultTolerance = 5 * time.Minute
)

// maxText bounds each text of an event, in bytes: no sender's ids and types come
// near, and stores index them.
const maxText = 4 << 10

// maxEvents bounds the events of one request: each costs some hundred times what an
// element of two bytes does. Senders that say how many they send at most name 1000.
const maxEvents = 10_000

// Signer sets the headers that sign r for e, as the sender would: with r.Secrets
// at r.Time. It is safe for concurrent use.
type Signer func(r *Request, e Event) error

// Verify checks r without net/http: for fiber, serverless functions and requests
// that were stored, at the time that r.Time says. It does what the middleware
// does but for reading the body and filling Event.Source, and sets r.Secrets,
// r.Time and, with a BaseURL, r.URL. A valid empty batch gives an empty slice and no error.
//
// The error is an [*Answer]: what the middleware would answer, ready to be sent.
// errors.Is finds [ErrSignature], [ErrStale], [ErrMalformed] and [ErrTooLarge]
// in it. A handshake's answer is such an error too, with a nil Err.
func (v Verifier) Verify(ctx context.Context, r *Request) ([]Event, error) {
	r.Header = canonicalHeader(r.Header)
	return v.verify(ctx, r)
}

// verify is Verify for headers that have canonical names.
func (v *Verifier) verify(ctx context.Context, r *Request) ([]Event, error) {
	events, err := v.check(ctx, r)
	if err != nil {
		return nil, answerOf(err, v.Preset)
	}
	return events, nil
}

func (v *Verifier) check(ctx context.Context, r *Request) ([]Event, error) {
	if err := v.complete(); err != nil {
		return nil, err
	}
	if err := v.allows(r.Method); r.Method != "" && err != nil {
		return nil, err
	}
	if int64(len(r.Body)) > v.bodyLimit() {
		return nil, tooLarge(v.bodyLimit(), "Verifier.BodyLimit")
	}
	if err := v.locate(r); err != nil {
		return nil, err
	}
	r.begin(v.Tolerance)
	if err := v.findSecrets(ctx, r); err != nil {
		return nil, err
	}
	events, err := v.Check(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.tried > 0 && r.fitted == nil {
		return nil, &refusal.Error{
			Cause: refusal.Signature, Err: ErrSignature, Tried: r.tried,
			Text: "the check returned events although no secret fitted: it must look at the result of Request.Try",
		}
	}
	if events == nil {
		events = []Event{}
	}
	return events, v.finish(r, events)
}

// complete returns an error for a verifier that could not refuse anything.
func (v *Verifier) complete() error {
	switch {
	case v.Check == nil:
		return &refusal.Error{Cause: refusal.Unconfigured, Text: "the Verifier has no Check"}
	case v.Secrets == nil && !v.Keyless:
		return &refusal.Error{Cause: refusal.Unconfigured, Text: "the Verifier has no Secrets: give the preset a secret, set Secrets, or say Keyless"}
	}
	return checkBaseURL(v.BaseURL)
}

// postOnly are the methods of a sender that names none.
var postOnly = []string{"POST"}

func (v *Verifier) methods() []string {
	if len(v.Methods) == 0 {
		return postOnly
	}
	return v.Methods
}

func (v *Verifier) allows(method string) error {
	if slices.Contains(v.methods(), method) {
		return nil
	}
	return methodNotAllowed(v.methods())
}

func (v *Verifier) bodyLimit() int64 {
	if v.BodyLimit <= 0 {
		return defaultBodyLimit
	}
	return v.BodyLimit
}

// findSecrets sets r.Secrets to those that may fit.
func (v *Verifier) findSecrets(ctx context.Context, r *Request) error {
	if v.Secrets == nil {
		return nil
	}
	secrets, err := v.Secrets(ctx, r)
	if err != nil {
		return unavailable(err)
	}
	unusable := func(s Secret) bool { return !s.usable(r.Time) }
	if slices.ContainsFunc(secrets, unusable) {
		secrets = slices.DeleteFunc(slices.Clone(secrets), unusable)
	}
	r.Secrets = secrets
	if len(secrets) == 0 && !v.Keyless {
		return &refusal.Error{
			Cause: refusal.NoSecret, Err: ErrSignature,
			Text: "there is no secret for this request, or all have expired",
		}
	}
	return nil
}

// finish fills what the check left open, and bounds what it took from outside.
func (v *Verifier) finish(r *Request, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	if len(events) > maxEvents {
		return &refusal.Error{
			Cause: refusal.Malformed, Err: ErrMalformed,
			Text: fmt.Sprintf("the request has %d events, more than %d", len(events), maxEvents),
		}
	}
	headers := v.kept(r.Header)
	var met *bodies
	if len(events) > 1 {
		met = &bodies{count: map[[sha256.Size]byte]uint64{}}
	}
	for i := range events {
		e := &events[i]
		e.Headers = headers
		whole := e.Body == nil
		if whole {
			e.Body = r.Body
		}
		if s := r.fitted; s != nil {
			e.Proof.SecretID = s.String()
			if s.Tenant != "" {
				e.Tenant = s.Tenant
			}
		}
		if !tellable(e.Time) {
			e.Time, e.Proof.Time = time.Time{}, false // in another unit than the check took it for
		}
		for _, text := range [...]string{e.Tenant, e.ID, e.Type, e.Subject} {
			if len(text) > maxText {
				return &refusal.Error{
					Cause: refusal.Malformed, Err: ErrMalformed,
					Text: fmt.Sprintf("a text of the event has %d bytes, more than %d", len(text), maxText),
				}
			}
		}
		v.identify(e, met, whole)
	}
	return nil
}

// tellable reports whether t is a time that stores keep and JSON has a text for.
func tellable(t time.Time) bool {
	t = t.UTC()
	return t.Year() >= 1 && t.Year() <= 9999
}

// bodies are those of the events of one request, by their digests; nil where there
// is one event alone.
type bodies struct {
	count map[[sha256.Size]byte]uint64
	whole *[sha256.Size]byte // that of the request's: hashed once, however many have it
}

// sum returns the digest of an event's body, which may be the request's.
func (b *bodies) sum(body []byte, whole bool) [sha256.Size]byte {
	if b == nil || !whole {
		return sha256.Sum256(body)
	}
	if b.whole == nil {
		sum := sha256.Sum256(body)
		b.whole = &sum
	}
	return *b.whole
}

// identify gives e an ID where it has none, and the digest of its body, which is
// the request's if whole is set, as a replay key where nobody signed the ID.
func (v *Verifier) identify(e *Event, met *bodies, whole bool) {
	digested := !e.Proof.ID && !v.NoDigest
	if e.ID != "" && !digested {
		return
	}
	d := new(digest)
	d.sum = met.sum(e.Body, whole)
	key := d.sum[:]
	if met != nil && e.ID != "" {
		// Events of one request that have the same body, as those have that the check
		// gave none of its own, and IDs of their own, are several. Their place tells
		// them apart, which is the same in each replay. No digest is as long.
		if n := met.count[d.sum]; n > 0 {
			key = binary.AppendUvarint(slices.Clip(key), n)
		}
		met.count[d.sum]++
	}
	if digested && e.Proof.Keys == nil {
		d.keys[0] = key
		e.Proof.Keys = d.keys[:]
	} else if digested {
		e.Proof.Keys = append(e.Proof.Keys, key)
	}
	if e.ID == "" {
		e.ID = hex.EncodeToString(d.sum[:])
	}
}

// digest is a body's, and the replay keys of an event that has no other, in one
// piece of memory.
type digest struct {
	sum  [sha256.Size]byte
	keys [1][]byte
}

// Unverified returns a Verifier that believes everybody: for a sender that signs
// nothing, behind a network or a proxy that lets only that sender through. Its
// name is what a reviewer should stumble over. read makes the events of a
// request; an ID is known by itself alone, since nobody vouches for the body
// either.
func Unverified(read func(r *Request) ([]Event, error)) Verifier {
	if read == nil {
		panic("webhook: Unverified: read is nil")
	}
	return Verifier{
		Check: func(_ context.Context, r *Request) ([]Event, error) {
			events, err := read(r)
			var answer *Answer
			if err != nil && !errors.As(err, &answer) && !errors.Is(err, ErrTooLarge) {
				// There is no signature that could be wrong.
				err = fmt.Errorf("%w: %w", ErrMalformed, err)
			}
			return events, err
		},
		Keyless:  true,
		Preset:   observe.Unverified,
		NoDigest: true,
	}
}
