package signature_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	. "github.com/surehook/webhook/signature"
)

// families are senders of every family that a Scheme must reach.
var families = map[string]Scheme{
	// The body alone: hash, encoding, prefix.
	"github":   {Header: "X-Hub-Signature-256", Prefix: "sha256=", ID: Header("X-GitHub-Delivery"), Type: Header("X-GitHub-Event")},
	"shopify":  {Header: "X-Shopify-Hmac-Sha256", Encoding: Base64, ID: Header("X-Shopify-Event-Id"), Type: Header("X-Shopify-Topic")},
	"typeform": {Header: "Typeform-Signature", Prefix: "sha256=", Encoding: Base64, ID: JSON("event_id"), Type: JSON("event_type")},
	"paystack": {Header: "X-Paystack-Signature", Hash: crypto.SHA512, ID: JSON("data.id"), Type: JSON("event")},
	"intercom": {Header: "X-Hub-Signature", Prefix: "sha1=", Hash: crypto.SHA1, ID: JSON("id"), Type: JSON("topic")},
	"vercel":   {Header: "X-Vercel-Signature", Hash: crypto.SHA1, ID: JSON("id"), Type: JSON("type")},

	// A time that is a field of the signed body.
	"linear": {
		Header: "Linear-Signature", Sent: Milliseconds(JSON("webhookTimestamp")),
		ID: Header("Linear-Delivery"), Type: JSON("type"), Time: RFC3339(JSON("createdAt")),
	},

	// Time and body, in one header.
	"mux": {
		Header: "Mux-Signature", Separator: ",", Prefix: "v1=",
		Signed: []Part{Entry("t="), Text("."), Body()}, Sent: Seconds(Entry("t=")), ID: JSON("id"), Type: JSON("type"),
	},
	"paddle": {
		Header: "Paddle-Signature", Separator: ";", Prefix: "h1=",
		Signed: []Part{Entry("ts="), Text(":"), Body()}, Sent: Seconds(Entry("ts=")), ID: JSON("event_id"), Type: JSON("event_type"),
	},
	"workos": {
		Header: "WorkOS-Signature", Separator: ",", Prefix: "v1=",
		Signed: []Part{Entry("t="), Text("."), Body()}, Sent: Milliseconds(Entry("t=")), ID: JSON("id"), Type: JSON("event"),
	},

	// The same over two headers, with or without a separator.
	"slack": {
		Header: "X-Slack-Signature", Prefix: "v0=",
		Signed: []Part{Text("v0:"), Header("X-Slack-Request-Timestamp"), Text(":"), Body()},
		Sent:   Seconds(Header("X-Slack-Request-Timestamp")), ID: JSON("event_id"), Type: JSON("event.type"),
	},
	"airwallex": {
		Header: "X-Signature", Signed: []Part{Header("X-Timestamp"), Body()},
		Sent: Milliseconds(Header("X-Timestamp")), ID: JSON("id"), Type: JSON("name"),
	},

	// Id, time and body.
	"twitch": {
		Header: "Twitch-Eventsub-Message-Signature", Prefix: "sha256=",
		Signed: []Part{Header("Twitch-Eventsub-Message-Id"), Header("Twitch-Eventsub-Message-Timestamp"), Body()},
		Sent:   RFC3339(Header("Twitch-Eventsub-Message-Timestamp")),
		ID:     Header("Twitch-Eventsub-Message-Id"), Type: JSON("subscription.type"),
	},

	// The time behind the body, as an HTTP date and with an offset.
	"klaviyo": {
		Header: "Klaviyo-Signature", Signed: []Part{Body(), Header("Klaviyo-Timestamp")},
		Sent: HTTPDate(Header("Klaviyo-Timestamp")), ID: JSON("id"),
	},
	"box": {
		Header: "Box-Signature-Primary", Encoding: Base64, Signed: []Part{Body(), Header("Box-Delivery-Timestamp")},
		Sent: RFC3339(Header("Box-Delivery-Timestamp")), ID: JSON("id"), Type: JSON("trigger"),
	},

	// The URL, before and behind the body, and with the method.
	"square": {
		Header: "X-Square-Hmacsha256-Signature", Encoding: Base64, Signed: []Part{URL(), Body()}, ID: JSON("event_id"), Type: JSON("type"),
	},
	"trello": {
		Header: "X-Trello-Webhook", Encoding: Base64, Hash: crypto.SHA1, Signed: []Part{Body(), URL()}, ID: JSON("action.id"), Type: JSON("action.type"),
	},
	"hubspot": {
		Header: "X-Hubspot-Signature-V3", Encoding: Base64,
		Signed: []Part{Method(), URL(), Body(), Header("X-Hubspot-Request-Timestamp")},
		Sent:   Milliseconds(Header("X-Hubspot-Request-Timestamp")), ID: JSON("id"),
	},

	// A public key.
	"discord": {
		Header: "X-Signature-Ed25519", Signed: []Part{Header("X-Signature-Timestamp"), Body()},
		Sent: Seconds(Header("X-Signature-Timestamp")), Key: hexKey, ID: JSON("id"), Type: JSON("event.type"),
	},
	"standard_webhooks": {
		Header: "Webhook-Signature", Separator: " ", Prefix: "v1,", Ed25519: "v1a,", Encoding: Base64, Key: StandardKey,
		Signed: []Part{Header("Webhook-Id"), Text("."), Header("Webhook-Timestamp"), Text("."), Body()},
		Sent:   Seconds(Header("Webhook-Timestamp")), ID: Header("Webhook-Id"), Type: JSON("type"),
	},
}

// hexKey is the Key of senders that show a public key in hexadecimal, for tests
// also a private one.
func hexKey(secret string) (Key, error) {
	key, err := hex.DecodeString(secret)
	switch {
	case err != nil:
		return Key{}, errors.New("is not hexadecimal")
	case len(key) == ed25519.PrivateKeySize:
		return Ed25519Private(key), nil
	default:
		return Ed25519Public(key), nil
	}
}

// privateKeys are the senders' halves of public keys in the vectors. Discord's has
// the seed 0, 1, … 31.
var privateKeys = map[string]string{
	"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
	"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=":                "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
}

// signedIDs are those of families whose id the signature covers.
var signedIDs = []string{
	"airwallex", "box", "discord", "hubspot", "intercom", "klaviyo", "mux", "paddle", "paystack", "slack", "square",
	"standard_webhooks", "trello", "twitch", "typeform", "vercel", "workos",
}

type vector struct {
	Provider, Name string
	Method, URL    string
	Headers        map[string]string
	Body           string
	Valid          bool
	Now            int64
	Secret         []byte `json:"secret_base64"`
}

func (v vector) request(tb testing.TB) *webhook.Request {
	tb.Helper()
	u, err := url.Parse(v.URL)
	require.NoError(tb, err)
	r := &webhook.Request{Method: v.Method, URL: u, Header: http.Header{}, Body: []byte(v.Body), Time: time.Unix(v.Now, 0)}
	for name, value := range v.Headers {
		r.Header.Set(name, value)
	}
	return r
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(tb, err)
	var file struct{ Vectors []vector }
	require.NoError(tb, json.Unmarshal(b, &file))
	return file.Vectors
}

func TestScheme_Families(t *testing.T) {
	accepted := map[string]bool{}
	for _, vector := range vectors(t) {
		t.Run(vector.Provider+"/"+vector.Name, func(t *testing.T) {
			scheme := families[vector.Provider]
			scheme.Name = vector.Provider
			v, err := scheme.Verifier(string(vector.Secret))
			require.NoError(t, err)
			r := vector.request(t)
			events, err := v.Verify(t.Context(), r)
			if !vector.Valid {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			accepted[vector.Provider] = true
			e := events[0]
			require.NotEmpty(t, e.ID)

			// A byte more, and it does not fit.
			r.Body = append(r.Body, ' ')
			_, err = v.Verify(t.Context(), r)
			require.ErrorIs(t, err, webhook.ErrSignature)

			// Signed by us, it is what the sender signed.
			secret := string(vector.Secret)
			if private := privateKeys[secret]; private != "" {
				secret = private
			}
			again := vector.request(t)
			again.Header.Del(scheme.Header)
			again.Secrets = []webhook.Secret{{Value: secret}}
			require.NoError(t, v.Sign(again, e))
			_, err = v.Verify(t.Context(), again)
			require.NoError(t, err)
			if !slices.Contains([]string{"airwallex", "box", "hubspot", "twitch", "workos"}, vector.Provider) {
				// Their times have fractions of a second, or an offset.
				require.Equal(t, r.Header.Get(scheme.Header), again.Header.Get(scheme.Header))
			}
		})
	}
	for name := range families {
		require.True(t, accepted[name], "no valid vector of %s", name)
	}
}

// Whether the id is signed follows from the declaration.
func TestScheme_Covers(t *testing.T) {
	for name, scheme := range families {
		t.Run(name, func(t *testing.T) {
			scheme.Name, scheme.Key, scheme.Ed25519 = name, RawKey, ""
			v, err := scheme.Verifier("secret")
			require.NoError(t, err)
			at := time.Unix(1_700_000_000, 0)
			r := &webhook.Request{
				Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: "example.com", Path: "/hooks"},
				Time: at, Secrets: []webhook.Secret{{Value: "secret"}},
			}
			body := []byte(`{"id":"1","event_id":"1","data":{"id":"1"},"action":{"id":"1"},"webhookTimestamp":1700000000000}`)
			require.NoError(t, v.Sign(r, webhook.Event{ID: "1", Body: body}))
			events, err := v.Verify(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, "1", events[0].ID)
			signed := slices.Contains(signedIDs, name)
			require.Equal(t, signed, events[0].Proof.ID)
			require.Equal(t, signed, len(events[0].Proof.Keys) == 0, "an id that is not signed is bound to the body")
		})
	}
}

func TestScheme_Unsound(t *testing.T) {
	good := Scheme{Name: "acme", Header: "Acme-Signature"}
	for _, test := range []struct {
		name  string
		spoil func(s *Scheme)
		says  string
	}{
		{"no name", func(s *Scheme) { s.Name = "" }, "has no Name"},
		{"no header", func(s *Scheme) { s.Header = "" }, "has no Header"},
		{"MD5", func(s *Scheme) { s.Hash = crypto.MD5 }, "has a Hash that is not"},
		{"unknown encoding", func(s *Scheme) { s.Encoding = 7 }, "has an Encoding"},
		{"separator that base64 has", func(s *Scheme) { s.Encoding, s.Separator = Base64, "=" }, "Separator"},
		{"another", func(s *Scheme) { s.Encoding, s.Separator = Base64, " +" }, "Separator"},
		{"unsigned time", func(s *Scheme) { s.Sent = Seconds(Header("Acme-Time")) }, "Signed does not cover"},
		{"time of a body that is not signed", func(s *Scheme) {
			s.Signed, s.Sent = []Part{Header("Acme-Id")}, Seconds(JSON("time"))
		}, "Signed does not cover"},
		{"field signed", func(s *Scheme) { s.Signed = []Part{JSON("token"), Body()} }, "is not read before"},
		{"nothing signed", func(s *Scheme) { s.Signed = []Part{{}} }, "has a Signed part"},
		{"body not signed", func(s *Scheme) { s.Signed = []Part{Header("Acme-Id"), Text(".")} }, "without Body"},
		{"id beside the body", func(s *Scheme) { s.Signed = []Part{Header("Acme-Id"), Body()} }, "has Acme-Id and the body side by side"},
		{"id behind the body", func(s *Scheme) { s.Signed = []Part{Body(), Text(""), Header("Acme-Id")} }, "has the body and Acme-Id side by side"},
		{"id beside another entry", func(s *Scheme) {
			s.Separator, s.Signed = ",", []Part{Entry("a="), Entry("b="), Text("."), Body()}
		}, `has the entry "a=" of Acme-Signature and the entry "b=" of Acme-Signature side by side`},
		{"a time that is not Sent", func(s *Scheme) {
			s.Signed, s.Time = []Part{Header("Acme-Time"), Body()}, Seconds(Header("Acme-Time"))
		}, "side by side in Signed, neither of them Sent"},
		{"constant id", func(s *Scheme) { s.ID = Text("x") }, "something else than a Header"},
		{"body as type", func(s *Scheme) { s.Type = Body() }, "something else than a Header"},
		{"unsigned key", func(s *Scheme) { s.Keys = []Part{Header("Acme-Nonce")} }, "Keys that Signed does not cover"},
		{"empty key", func(s *Scheme) { s.Keys = []Part{{}} }, "Keys that Signed does not cover"},
		{"body as key", func(s *Scheme) { s.Keys = []Part{Body()} }, "something else than a Header"},
		{"URL as id", func(s *Scheme) { s.Signed, s.ID = []Part{URL(), Body()}, URL() }, "something else than a Header"},
		{"too many fields", func(s *Scheme) {
			for _, name := range "abcdefghi" {
				s.Keys = append(s.Keys, JSON(string(name)))
			}
		}, "reads 9 fields"},
		{"too many parts", func(s *Scheme) { s.Signed = make([]Part, 13) }, "at most 12"},
		{"too deep", func(s *Scheme) { s.ID = JSON("a.b.c.d.e.f.g.h.i") }, "more than 8 keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := good
			test.spoil(&s)
			v, err := s.Verifier("secret")
			require.ErrorContains(t, err, test.says)
			require.Nil(t, v.Check)
		})
	}
	_, err := good.Verifier("secret")
	require.NoError(t, err)
}

// A Key of one's own that gives an empty key gives none.
func TestScheme_EmptyKey(t *testing.T) {
	s := Scheme{Name: "acme", Header: "Acme-Signature", Key: func(secret string) (Key, error) {
		key, err := base64.StdEncoding.DecodeString(secret)
		return HMAC(key), err
	}}
	_, err := s.Verifier("")
	require.ErrorContains(t, err, "empty key")
	v, err := s.Verifier("a2V5")
	require.NoError(t, err)
	r := &webhook.Request{Secrets: []webhook.Secret{{Value: "a2V5"}}}
	require.NoError(t, v.Sign(r, webhook.Event{Body: []byte("x")}))
	_, err = v.Verify(t.Context(), r)
	require.NoError(t, err)
}

func TestRawKey(t *testing.T) {
	for _, bad := range []string{"", " ", "\n", "secret\n", " secret", "\u00a0secret", "-----BEGIN PUBLIC KEY-----\n", "whpk_x", "whsk_x"} {
		_, err := RawKey(bad)
		require.ErrorContains(t, err, "expected", "%q", bad)
	}
	for _, good := range []string{"secret", "with space inside", "whsec_x", "\x00", "pässword"} {
		key, err := RawKey(good)
		require.NoError(t, err)
		require.Equal(t, HMAC([]byte(good)), key)
	}
}

// Whoever has a request cuts what is signed elsewhere, before or behind a constant.
func TestScheme_OtherCuts(t *testing.T) {
	for name, c := range map[string]struct {
		signed []Part
		id     string // of a further request, and its body
		body   string
	}{
		"id before the body": {[]Part{Header("Acme-Id"), Text("."), Body()}, "1.a", "b"},
		"id behind the body": {[]Part{Body(), Text("."), Header("Acme-Id")}, "b.1", "a"},
		"two constants":      {[]Part{Body(), Text("-"), Text("."), Header("Acme-Id")}, "b-.1", "a"},
		"between others":     {[]Part{Body(), Text("."), Header("Acme-Id"), Text("|"), Method()}, "b.1", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifierOf(t, Scheme{Signed: c.signed, ID: Header("Acme-Id")})
			r := &webhook.Request{Method: http.MethodPost, Body: []byte("a.b"), Secrets: []webhook.Secret{{Value: "secret"}}}
			if name == "two constants" {
				r.Body = []byte("a-.b")
			}
			require.NoError(t, v.Sign(r, webhook.Event{ID: "1"}))
			_, err := v.Verify(t.Context(), r)
			require.NoError(t, err)
			r.Header.Set("Acme-Id", c.id)
			r.Body = []byte(c.body)
			_, err = v.Verify(t.Context(), r)
			require.ErrorIs(t, err, webhook.ErrMalformed)
			require.ErrorContains(t, err, "which ends it in what is signed")
		})
	}
}

// A time in another unit than the scheme says is left out: no JSON could have it.
func TestScheme_TimeInAnotherUnit(t *testing.T) {
	v := verifierOf(t, Scheme{Time: Seconds(JSON("created"))})
	for created, known := range map[string]bool{
		"1700000000": true, "253402300799": true,
		"1700000000000": false, "1700000000000000": false, "999999999999999999": false,
	} {
		r := &webhook.Request{Body: []byte(`{"created":` + created + `}`), Secrets: []webhook.Secret{{Value: "secret"}}}
		require.NoError(t, v.Sign(r, webhook.Event{}))
		events, err := v.Verify(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, known, !events[0].Time.IsZero(), created)
		require.Equal(t, known, events[0].Proof.Time, created)
		_, err = json.Marshal(events[0].Time)
		require.NoError(t, err)
	}
}
