package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

const (
	publicURL = "https://hooks.example.com/webhooks/parcel"
	secret    = "0123456789abcdef0123456789abcdef"
	oldSecret = "fedcba9876543210fedcba9876543210"
	forger    = "00000000000000000000000000000000"
)

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// scan is the carrier's form.
func scan(id string, sent time.Time) string {
	return "sent=" + strconv.FormatInt(sent.Unix(), 10) + "&event=delivered&id=" + url.QueryEscape(id) + "&parcel=PX4711"
}

func verifier(t *testing.T, at string, secrets ...webhook.Secret) webhook.Verifier {
	t.Helper()
	v, err := newParcel(at, secrets...)
	require.NoError(t, err)
	return v
}

// signed returns body as a request that the carrier signed with secret.
func signed(t *testing.T, at, secret, body string) *webhook.Request {
	t.Helper()
	r := &webhook.Request{
		Method: http.MethodPost, Body: []byte(body), Time: now, Secrets: []webhook.Secret{{Value: secret}},
	}
	require.NoError(t, verifier(t, at, webhook.Secret{Value: secret}).Sign(r, webhook.Event{}))
	return r
}

// The signature of one request, computed beside this program:
//
//	printf %s 'https://hooks.example.com/webhooks/parcel?event=delivered&id=scn_1&parcel=PX4711&sent=1795507200' |
//		openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
const knownSignature = "6be888f30e27b8d4aa4fbdaf502877bed38174bd81fedfff7543d785948b0381"

func TestParcel_Known(t *testing.T) {
	require.Equal(t, knownSignature, signed(t, publicURL, secret, scan("scn_1", now)).Header.Get(signatureHeader))
}

func TestParcel_Genuine(t *testing.T) {
	v := verifier(t, publicURL, webhook.Secret{ID: "2026", Value: secret}, webhook.Secret{ID: "2025", Value: oldSecret, Until: now.Add(time.Hour)})
	for name, r := range map[string]*webhook.Request{
		"2026": signed(t, publicURL, secret, scan("scn_1", now)),
		"2025": signed(t, publicURL, oldSecret, scan("scn_1", now)),
	} {
		events, err := v.Verify(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []webhook.Event{{
			ID: "scn_1", Type: "delivered", Subject: "PX4711", Time: time.Unix(now.Unix(), 0),
			Headers: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: r.Body,
			Proof: webhook.Proof{ID: true, Type: true, Time: true, SecretID: name},
		}}, events)
	}
}

func TestParcel_Check(t *testing.T) {
	genuine := scan("scn_1", now)
	for _, test := range []struct {
		name string
		spin func(r *webhook.Request)
		want error
	}{
		{"nothing", func(*webhook.Request) {}, nil},
		{"parameters in another order", func(r *webhook.Request) {
			first, rest, _ := strings.Cut(genuine, "&")
			r.Body = []byte(rest + "&" + first)
		}, nil},
		{"escaped otherwise", func(r *webhook.Request) {
			r.Body = []byte(strings.Replace(genuine, "delivered", "%64elivered", 1))
		}, nil},
		{"no signature", func(r *webhook.Request) { r.Header.Del(signatureHeader) }, webhook.ErrSignature},
		{"empty signature", func(r *webhook.Request) { r.Header.Set(signatureHeader, "") }, webhook.ErrSignature},
		{"half a signature", func(r *webhook.Request) {
			r.Header.Set(signatureHeader, r.Header.Get(signatureHeader)[:32])
		}, webhook.ErrSignature},
		{"upper case", func(r *webhook.Request) {
			r.Header.Set(signatureHeader, strings.ToUpper(r.Header.Get(signatureHeader)))
		}, webhook.ErrSignature},
		{"forged", func(r *webhook.Request) {
			*r = *signed(t, publicURL, forger, genuine)
		}, webhook.ErrSignature},
		{"for another URL", func(r *webhook.Request) {
			*r = *signed(t, "https://hooks.example.com/webhooks/parcel2", secret, genuine)
		}, webhook.ErrSignature},
		{"a value changed", func(r *webhook.Request) {
			r.Body = []byte(strings.Replace(genuine, "delivered", "returned", 1))
		}, webhook.ErrSignature},
		{"a parameter more", func(r *webhook.Request) { r.Body = append(r.Body, "&refund=1"...) }, webhook.ErrSignature},
		{"a parameter twice", func(r *webhook.Request) { r.Body = append(r.Body, "&id=scn_2"...) }, webhook.ErrSignature},
		{"a parameter less", func(r *webhook.Request) {
			r.Body = []byte(strings.Replace(genuine, "&parcel=PX4711", "", 1))
		}, webhook.ErrSignature},
		{"a boundary moved", func(r *webhook.Request) {
			r.Body = []byte(strings.Replace(genuine, "event=delivered", "eventd=elivered", 1))
		}, webhook.ErrSignature},
		{"an ampersand in a value", func(r *webhook.Request) {
			r.Body = []byte(strings.Replace(genuine, "delivered&id=", "delivered%26id=", 1))
		}, webhook.ErrSignature},
		{"another time than signed", func(r *webhook.Request) {
			r.Body = []byte(scan("scn_1", now.Add(time.Second)))
		}, webhook.ErrSignature},
		{"no form", func(r *webhook.Request) { r.Body = []byte("%zz") }, webhook.ErrMalformed},
		{"no id", func(r *webhook.Request) { *r = *signed(t, publicURL, secret, scan("", now)) }, webhook.ErrMalformed},
		{"no time", func(r *webhook.Request) { *r = *signed(t, publicURL, secret, "id=scn_1") }, webhook.ErrMalformed},
		{"a time that is none", func(r *webhook.Request) {
			*r = *signed(t, publicURL, secret, "id=scn_1&sent=now")
		}, webhook.ErrMalformed},
		{"six minutes old", func(r *webhook.Request) {
			*r = *signed(t, publicURL, secret, scan("scn_1", now.Add(-6*time.Minute)))
		}, webhook.ErrStale},
		{"six minutes ahead", func(r *webhook.Request) {
			*r = *signed(t, publicURL, secret, scan("scn_1", now.Add(6*time.Minute)))
		}, webhook.ErrStale},
		{"five minutes old", func(r *webhook.Request) {
			*r = *signed(t, publicURL, secret, scan("scn_1", now.Add(-5*time.Minute)))
		}, nil},
		{"too large", func(r *webhook.Request) {
			*r = *signed(t, publicURL, secret, genuine+"&note="+strings.Repeat("x", 16<<10))
		}, webhook.ErrTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := signed(t, publicURL, secret, genuine)
			test.spin(r)
			events, err := verifier(t, publicURL, webhook.Secret{Value: secret}).Verify(t.Context(), r)
			if test.want == nil {
				require.NoError(t, err)
				require.Equal(t, "scn_1", events[0].ID)
				return
			}
			require.ErrorIs(t, err, test.want)
			require.Nil(t, events)
			require.NotContains(t, err.Error(), "PX4711")
		})
	}
}

// An old secret fits until its Until.
func TestParcel_Rotation(t *testing.T) {
	v := verifier(t, publicURL, webhook.Secret{Value: secret}, webhook.Secret{Value: oldSecret, Until: now.Add(time.Hour)})
	for after, want := range map[time.Duration]error{0: nil, time.Hour - time.Second: nil, time.Hour: webhook.ErrSignature} {
		r := signed(t, publicURL, oldSecret, scan("scn_1", now.Add(after)))
		r.Time = now.Add(after)
		_, err := v.Verify(context.Background(), r)
		require.ErrorIs(t, err, want, after)
	}
}

func TestParcel_Misconfigured(t *testing.T) {
	good := webhook.Secret{Value: secret}
	for name, build := range map[string]func() (webhook.Verifier, error){
		"no secret":        func() (webhook.Verifier, error) { return newParcel(publicURL) },
		"an empty secret":  func() (webhook.Verifier, error) { return newParcel(publicURL, good, webhook.Secret{}) },
		"a short secret":   func() (webhook.Verifier, error) { return newParcel(publicURL, webhook.Secret{Value: "hunter2"}) },
		"a path for a URL": func() (webhook.Verifier, error) { return newParcel("/webhooks/parcel", good) },
	} {
		v, err := build()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hunter2")
		require.Nil(t, v.Check, name)
	}
}
