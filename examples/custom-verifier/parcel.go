package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/surehook/webhook"
)

// parcel is a carrier that posts a form for each scan of a parcel:
//
//	event=delivered&id=scn_1&parcel=PX4711&sent=1764000000
//
// What it signs is not the body's bytes but what they mean, as some senders of forms
// do: the URL that it was given, and the parameters, sorted by name. Its header is
//
//	Parcel-Signature: hex(HMAC-SHA256(secret, URL ? sorted parameters))
//
// The URL comes from configuration. Behind a proxy the request's own is another.
type parcel struct{ url string }

// signatureHeader is where the carrier puts its signature.
const signatureHeader = "Parcel-Signature"

// newParcel returns the carrier's Verifier. Several secrets are valid side by side,
// each until its Until.
func newParcel(publicURL string, secrets ...webhook.Secret) (webhook.Verifier, error) {
	if u, err := url.Parse(publicURL); err != nil || u.Host == "" {
		return webhook.Verifier{}, errors.New("parcel: the URL must be the one that the carrier calls, with scheme and host")
	}
	if len(secrets) == 0 {
		return webhook.Verifier{}, errors.New("parcel: no secret")
	}
	for _, s := range secrets {
		if len(s.Value) < 24 { // the carrier's have 32 characters; an empty one would let everybody in
			return webhook.Verifier{}, errors.New("parcel: a secret is too short: expected the 32 characters of the carrier's settings")
		}
	}
	p := parcel{url: publicURL}
	return webhook.Verifier{
		Secrets: func(context.Context, *webhook.Request) ([]webhook.Secret, error) { return secrets, nil },
		Check:   p.check,
		Sign:    p.sign,
		Preset:  "parcel",
		// A form must be parsed before anything of it is known to be true: small.
		BodyLimit: 16 << 10,
		Horizon:   2 * 24 * time.Hour, // the carrier tries again for two days
	}, nil
}

// check is all that a sender needs who is like no other. Limits, expired secrets,
// constant answers, logs and protection from replays come with the Verifier.
func (p parcel) check(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return nil, webhook.ErrMalformed
	}
	given := []byte(r.Header.Get(signatureHeader))
	if !r.Try(func(s webhook.Secret) bool { return hmac.Equal(given, p.signature(s, form)) }) {
		return nil, webhook.ErrSignature
	}
	sent, err := strconv.ParseInt(form.Get("sent"), 10, 64)
	if err != nil || form.Get("id") == "" { // signed, but not what this sender sends
		return nil, webhook.ErrMalformed
	}
	if err := r.Fresh(time.Unix(sent, 0)); err != nil { // both sides: too old, and from the future
		return nil, err
	}
	return []webhook.Event{{
		ID: form.Get("id"), Type: form.Get("event"), Subject: form.Get("parcel"), Time: time.Unix(sent, 0),
		// All of it is signed. An ID that is not would be known by the digest of
		// the body too, which here is worth little: in another order the same
		// parameters have the same signature.
		Proof: webhook.Proof{ID: true, Type: true, Time: true},
	}}, nil
}

// sign is the reverse, for tests and for trying it out.
func (p parcel) sign(r *webhook.Request, _ webhook.Event) error {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return err
	}
	if len(r.Secrets) == 0 {
		return errors.New("parcel: no secret to sign with")
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set(signatureHeader, string(p.signature(r.Secrets[0], form)))
	return nil
}

// signature escapes the parameters, as the carrier does: of names and values that
// are merely joined, the end of one could be taken for the beginning of the next.
func (p parcel) signature(s webhook.Secret, form url.Values) []byte {
	mac := hmac.New(sha256.New, []byte(s.Value))
	mac.Write([]byte(p.url + "?" + form.Encode())) // Encode sorts by name
	return hex.AppendEncode(nil, mac.Sum(nil))
}
