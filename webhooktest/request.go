package webhooktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/surehook/webhook"
)

// Request returns a request with the event e, signed now as the sender that v
// checks signs it: with v.Sign, and the secrets of v.Secrets that are valid. One
// function serves all presets of package provider and every declared scheme. It
// ends the test if v cannot sign, or if the request would say another id, type or
// subject than e.
//
// Of e it takes
//
//   - Body, as it stands. Where a sender has the id and the type in the body, as
//     Stripe and Slack do, they are written there by the caller, and may be left
//     out of e.
//   - ID, Type and Subject, for the headers that a sender has for them.
//   - Headers, beside those of the signature: "X-Shopify-Shop-Domain". Without a
//     Content-Type it is application/json.
//   - Tenant: where it is set, the secrets of that tenant alone sign.
//
// target is a path with its query ("/webhooks/stripe"), for Handler.ServeHTTP; or
// a whole URL ("http://127.0.0.1:8080/webhooks/stripe"), which an http.Client can
// send too. The method is the first of v.Methods. A sender that signs the URL signs
// v.BaseURL with the path of target behind it; without a BaseURL, a whole target.
//
// v.Secrets is asked with the request, but only a mux knows its path values: where
// Secrets looks at those, sign with a verifier that has the tenant's secret alone.
//
// The request is the caller's to spoil. See [SetBody] for another body,
// [RequestAt] for another time; a header is deleted from its Header.
func Request(t testing.TB, v webhook.Verifier, target string, e webhook.Event) *http.Request {
	t.Helper()
	return RequestAt(t, v, target, e, time.Now())
}

// RequestAt is [Request], signed at another time than now: a stale one, one from
// a clock that is ahead, or one with a secret that has expired since.
func RequestAt(t testing.TB, v webhook.Verifier, target string, e webhook.Event, at time.Time) *http.Request {
	t.Helper()
	r, err := request(t.Context(), v, target, e, at)
	if err != nil {
		t.Fatalf("webhooktest: request to %s: %v", target, err)
	}
	return r
}

// SetBody gives r another body and leaves the rest, its signature above all: as
// somebody does who changes a request on its way.
func SetBody(r *http.Request, body []byte) {
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	if len(body) == 0 {
		r.Body = http.NoBody // a client would take 0 for unknown
	}
}

// request is RequestAt.
func request(ctx context.Context, v webhook.Verifier, target string, e webhook.Event, at time.Time) (*http.Request, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Host == "" && target[0] != '/' {
		return nil, errors.New("the target is neither a path that begins with / nor a whole URL")
	}
	method := http.MethodPost
	if len(v.Methods) > 0 {
		method = v.Methods[0]
	}
	r, err := http.NewRequestWithContext(ctx, method, "/", http.NoBody)
	if err != nil {
		return nil, err
	}
	// As httptest.NewRequest has them, for handlers that look.
	r.URL, r.Host, r.RemoteAddr = u, u.Host, "192.0.2.1:1234"
	if r.Host == "" {
		r.Host, r.RequestURI = "example.com", target // and no client may have a RequestURI
	}

	if v.BaseURL != "" { // stands in for whatever host the target names
		u = &url.URL{Path: u.Path, RawPath: u.RawPath, ForceQuery: u.ForceQuery, RawQuery: u.RawQuery}
	}
	signed := &webhook.Request{Method: method, URL: u, Header: headerOf(e), Body: e.Body, Time: at}
	if err := sign(ctx, v, signed, e); err != nil {
		return nil, err
	}
	r.Header = signed.Header
	SetBody(r, signed.Body)
	if err := agree(ctx, v, &webhook.Request{Method: method, URL: u, Header: r.Header.Clone(), Body: signed.Body, Time: at}, e); err != nil {
		return nil, err
	}
	return r, nil
}

// headerOf returns the headers of a request before it is signed.
func headerOf(e webhook.Event) http.Header {
	h := make(http.Header, len(e.Headers)+1)
	h.Set("Content-Type", "application/json")
	for name, values := range e.Headers {
		h[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	return h
}

// sign signs r for e, as v's sender would. Its URL and secrets are what v would
// check with: Verify finds them, with a check that signs.
func sign(ctx context.Context, v webhook.Verifier, r *webhook.Request, e webhook.Event) error {
	if v.Sign == nil {
		if v.Keyless {
			return nil // Unverified needs no signature, and others are found out by agree
		}
		return errors.New("the Verifier cannot sign: its Sign is nil")
	}
	sender, signs := v, error(nil)
	sender.BodyLimit = math.MaxInt64 // too large a body may be what is tested
	sender.Check = func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
		signs = v.Sign(r, e)
		return nil, nil
	}
	if v.Secrets != nil && e.Tenant != "" {
		sender.Secrets = func(ctx context.Context, r *webhook.Request) ([]webhook.Secret, error) {
			all, err := v.Secrets(ctx, r)
			own := slices.DeleteFunc(slices.Clone(all), func(s webhook.Secret) bool { return s.Tenant != e.Tenant })
			if err == nil && len(own) == 0 {
				err = fmt.Errorf("none of %d is of tenant %q", len(all), e.Tenant)
			}
			return own, err
		}
	}
	if _, err := sender.Verify(ctx, r); err != nil {
		return err
	}
	return signs
}

// agree returns an error if v finds something else in r than e, or refuses the
// signature. Other refusals may be what is tested.
func agree(ctx context.Context, v webhook.Verifier, r *webhook.Request, e webhook.Event) error {
	events, err := v.Verify(ctx, r)
	if errors.Is(err, webhook.ErrSignature) {
		return fmt.Errorf("what Sign made of it is refused by Check: %w", err)
	}
	if len(events) != 1 {
		return nil // refused as stale, malformed or too large; a handshake; a batch
	}
	for _, f := range []struct{ name, want, got string }{
		{"ID", e.ID, events[0].ID},
		{"Type", e.Type, events[0].Type},
		{"Subject", e.Subject, events[0].Subject},
	} {
		if f.want != "" && f.want != f.got {
			return fmt.Errorf("the event's %s is %q, and the request says %q: this sender has it in the body, which is yours: write it there, or leave it out of the event", f.name, f.want, f.got)
		}
	}
	return nil
}
