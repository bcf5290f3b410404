package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v89/github"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v85"
	stripehook "github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// BenchmarkVerify checks a signed request of 1 KiB again and again, as it lies in
// memory: by a preset, by what the sender's own SDK has for it, and by crypto/hmac
// alone with a key that was prepared once, which no check can do without.
//
//	go test -run '^$' -bench Verify -count 5
//
// The rows of a sender do not do the same. A preset returns the event: its id,
// type, time and kept headers, and of GitHub the digest of the body. Of the SDKs
// only ConstructEvent returns one, which it decodes. The others compare, and where
// the type is in the body, a row named json reads it too.
func BenchmarkVerify(b *testing.B) {
	body := eventBody(b)
	run := func(name string, check check, h http.Header) {
		b.Run(name, func(b *testing.B) {
			mustCheck(b, check, h, body)
			b.SetBytes(bodySize)
			b.ReportAllocs()
			for b.Loop() {
				if err := check(h, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("crypto_hmac", bareHMAC(body), nil)
	for _, c := range []candidates{ofStripe(body), ofGitHub(body), ofStandardWebhooks(body), ofSvix(body)} {
		run(c.sender+"/preset", c.preset, c.header)
		for _, sdk := range c.sdk {
			run(c.sender+"/"+sdk.name, sdk.check, c.header)
		}
	}
}

// check is one way to verify a request; it keeps nothing from call to call.
type check func(h http.Header, body []byte) error

// candidates are the ways to verify the requests of one sender.
type candidates struct {
	sender string
	header http.Header
	preset check
	sdk    []namedCheck
}

type namedCheck struct {
	name  string
	check check
}

// mustCheck makes sure that check is one: it accepts the request, and refuses
// another body.
func mustCheck(b *testing.B, check check, h http.Header, body []byte) {
	b.Helper()
	if err := check(h, body); err != nil {
		b.Fatal(err)
	}
	if check(h, bytes.Replace(body, []byte("evt_1"), []byte("evt_2"), 1)) == nil {
		b.Fatal("another body is accepted: this checks nothing")
	}
}

// eventBody is an event of bodySize bytes, as Stripe writes them, in many short
// fields. The other senders send it too.
func eventBody(b *testing.B) []byte {
	b.Helper()
	const line = `{"id":"il_1","object":"line_item","amount":1990,"currency":"eur","discountable":true,"livemode":false,"quantity":2},`
	head := fmt.Sprintf(`{"id":"evt_1","object":"event","api_version":%q,"created":1780000000,"livemode":false,`+
		`"data":{"object":{"id":"in_1","object":"invoice","lines":{"object":"list","data":[`, stripe.APIVersion)
	const tail = `]},"description":"%s"}},"pending_webhooks":1,"type":"invoice.paid"}`
	lines := strings.TrimSuffix(strings.Repeat(line, (bodySize-len(head)-len(tail))/len(line)), ",")
	rest := bodySize - len(head) - len(lines) - len(fmt.Sprintf(tail, ""))
	body := []byte(head + lines + fmt.Sprintf(tail, strings.Repeat("x", rest)))
	if len(body) != bodySize {
		b.Fatalf("the body has %d bytes", len(body))
	}
	return body
}

// presetCheck is the check of a preset. Each request is a new one, as it would be
// in a program.
func presetCheck(v webhook.Verifier, err error) check {
	ctx := context.Background()
	if err != nil {
		panic(err)
	}
	return func(h http.Header, body []byte) error {
		events, err := v.Verify(ctx, &webhook.Request{Method: http.MethodPost, Header: h, Body: body})
		if err == nil && len(events) != 1 {
			return errNoEvent
		}
		return err
	}
}

var (
	errNoEvent = errors.New("no event")
	errMAC     = errors.New("another MAC")
)

func bareHMAC(body []byte) check {
	before := []byte("1780000000.")
	mac := hmac.New(sha256.New, key)
	var sum [sha256.Size]byte
	of := func(body []byte) []byte {
		mac.Reset()
		mac.Write(before)
		mac.Write(body)
		return mac.Sum(sum[:0])
	}
	want := bytes.Clone(of(body))
	return func(_ http.Header, body []byte) error {
		if !hmac.Equal(of(body), want) {
			return errMAC
		}
		return nil
	}
}

func ofStripe(body []byte) candidates {
	const name = "Stripe-Signature"
	signed := stripehook.GenerateTestSignedPayload(&stripehook.UnsignedPayload{Payload: body, Secret: secret})
	return candidates{
		sender: "stripe",
		header: with(http.Header{name: {signed.Header}}),
		preset: presetCheck(provider.Stripe(secret)),
		sdk: []namedCheck{
			{"stripe-go_ConstructEvent", func(h http.Header, body []byte) error {
				_, err := stripehook.ConstructEvent(body, h.Get(name), secret)
				return err
			}},
			{"stripe-go_ValidatePayload", func(h http.Header, body []byte) error {
				return stripehook.ValidatePayload(body, h.Get(name), secret)
			}},
		},
	}
}

func ofGitHub(body []byte) candidates {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return candidates{
		sender: "github",
		header: with(http.Header{
			"X-Github-Event":             {"push"},
			"X-Github-Delivery":          {"72d3162e-cc78-11e3-81ab-4c9367dc0958"},
			github.SHA256SignatureHeader: {"sha256=" + hex.EncodeToString(mac.Sum(nil))},
		}),
		preset: presetCheck(provider.GitHub(secret)),
		sdk: []namedCheck{
			{"go-github_ValidatePayload", func(h http.Header, body []byte) error {
				_, err := github.ValidatePayload(&http.Request{Header: h, Body: io.NopCloser(bytes.NewReader(body))}, []byte(secret))
				return err
			}},
			{"go-github_ValidateSignature", func(h http.Header, body []byte) error {
				return github.ValidateSignature(h.Get(github.SHA256SignatureHeader), body, []byte(secret))
			}},
		},
	}
}

func ofStandardWebhooks(body []byte) candidates {
	wh := webhook.Must(standardwebhooks.NewWebhook(secret))
	return candidates{
		sender: "standard_webhooks",
		header: standardHeader("Webhook-", wh.Sign, body),
		preset: presetCheck(provider.StandardWebhooks(secret)),
		sdk: []namedCheck{
			{"standard-webhooks_Verify", func(h http.Header, body []byte) error { return wh.Verify(body, h) }},
			{"standard-webhooks_Verify_json", func(h http.Header, body []byte) error { return thenDecode(body, wh.Verify(body, h)) }},
		},
	}
}

func ofSvix(body []byte) candidates {
	wh := webhook.Must(svix.NewWebhook(secret))
	return candidates{
		sender: "svix",
		header: standardHeader("Svix-", wh.Sign, body),
		preset: presetCheck(provider.Svix(secret)),
		sdk: []namedCheck{
			{"svix-webhooks_Verify", func(h http.Header, body []byte) error { return wh.Verify(body, h) }},
			{"svix-webhooks_Verify_json", func(h http.Header, body []byte) error { return thenDecode(body, wh.Verify(body, h)) }},
		},
	}
}

// thenDecode is what a handler does next, to learn what it was sent.
func thenDecode(body []byte, err error) error {
	if err != nil {
		return err
	}
	var event struct{ Type, Timestamp string }
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	if event.Type == "" {
		return errNoEvent
	}
	return nil
}

func standardHeader(names string, sign func(id string, at time.Time, body []byte) (string, error), body []byte) http.Header {
	at := time.Now()
	return with(http.Header{
		names + "Id":        {"msg_1"},
		names + "Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		names + "Signature": {webhook.Must(sign("msg_1", at, body))},
	})
}

// with adds to h what every request has.
func with(h http.Header) http.Header {
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(bodySize))
	h.Set("User-Agent", "bench/1.0")
	h.Set("Accept-Encoding", "gzip")
	return h
}
