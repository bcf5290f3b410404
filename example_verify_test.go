package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// The handler behind Verify sees authentic requests alone.
func ExampleVerify() {
	const secret = "whsec_test_secret"
	stripe, err := provider.Stripe(secret)
	if err != nil {
		panic(err)
	}
	handler := webhook.Verify("stripe", stripe)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for _, e := range webhook.Events(r.Context()) {
			fmt.Println(e.Source, e.Type, e.ID)
		}
	}))

	// Stripe's part: a request that it signed, and a forged one.
	body := `{"id":"evt_1NG8Du","type":"invoice.paid","created":1700000000}`
	signed := &webhook.Request{Body: []byte(body), Secrets: []webhook.Secret{{Value: secret}}}
	if err := stripe.Sign(signed, webhook.Event{}); err != nil {
		panic(err)
	}
	genuine := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/webhooks/stripe", strings.NewReader(body))
	genuine.Header = signed.Header
	forged := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/webhooks/stripe", strings.NewReader(`{"id":"evt_666"}`))
	forged.Header = signed.Header

	for _, r := range []*http.Request{genuine, forged} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// stripe invoice.paid evt_1NG8Du
	// 200
	// 401
}

// A check of one's own compares, and says what it found; limits, rotation of
// secrets, tolerance and protection from replays come with the Verifier.
func ExampleVerifier() {
	acme := webhook.Verifier{
		Secrets: func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
			return []webhook.Secret{{ID: "2025", Value: "old"}, {ID: "2026", Value: "new"}}, nil
		},
		Check: func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
			sent, _ := strconv.ParseInt(r.Header.Get("Acme-Time"), 10, 64)
			given := []byte(r.Header.Get("Acme-Signature"))
			if !r.Try(func(s webhook.Secret) bool { return hmac.Equal(given, acmeSignature(s.Value, sent, r.Body)) }) {
				return nil, webhook.ErrSignature
			}
			if err := r.Fresh(time.Unix(sent, 0)); err != nil {
				return nil, err
			}
			return []webhook.Event{{ID: r.Header.Get("Acme-Id"), Type: "order"}}, nil
		},
	}

	now := time.Now().Unix()
	r := &webhook.Request{Header: http.Header{}, Body: []byte("order 42")}
	r.Header.Set("Acme-Id", "evt_1")
	r.Header.Set("Acme-Time", strconv.FormatInt(now, 10))
	r.Header.Set("Acme-Signature", string(acmeSignature("new", now, r.Body)))
	events, err := acme.Verify(context.Background(), r)
	if err != nil {
		panic(err)
	}
	e := events[0]
	fmt.Printf("%s %s: %s, signed with secret %s\n", e.Type, e.ID, e.Body, e.Proof.SecretID)
	// Output: order evt_1: order 42, signed with secret 2026
}

func acmeSignature(secret string, sent int64, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(fmt.Appendf(nil, "%d.%s", sent, body))
	return hex.AppendEncode(nil, mac.Sum(nil))
}

// Without net/http: a fiber handler, a serverless function, a stored request.
func ExampleVerifier_Verify() {
	v, err := provider.StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		panic(err)
	}
	r := &webhook.Request{
		Method: http.MethodPost,
		Header: http.Header{
			"webhook-id":        {"msg_p5jXN8AQM9LWM0D4loKWxJek"},
			"webhook-timestamp": {"1614265330"},
			"webhook-signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		},
		Body: []byte(`{"test": 2432232314}`),
		Time: time.Unix(1614265330, 0), // when it arrived
	}
	events, err := v.Verify(context.Background(), r)
	fmt.Println(events[0].ID, err)

	r.Body = []byte(`{"test": 2432232315}`)
	_, err = v.Verify(context.Background(), r)
	if answer, ok := errors.AsType[*webhook.Answer](err); ok {
		fmt.Printf("%d %s", answer.Status, answer.Body)
	}
	// Output:
	// msg_p5jXN8AQM9LWM0D4loKWxJek <nil>
	// 401 signature refused
}
