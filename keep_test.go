package webhook_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

func kept(tb testing.TB, v webhook.Verifier, h http.Header) http.Header {
	tb.Helper()
	v.Keyless = true
	v.Check = webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) {
		return []webhook.Event{{}}, nil
	}).Check
	events, err := v.Verify(tb.Context(), &webhook.Request{Header: h})
	require.NoError(tb, err)
	return events[0].Headers
}

func TestVerifier_KeepsHeaders(t *testing.T) {
	sent := http.Header{
		"Authorization":       {"Bearer marked"},
		"Proxy-Authorization": {"marked"},
		"Cookie":              {"marked"},
		"X-Api-Key":           {"marked"},
		"X-Shop-Topic":        {"orders/paid"},
		"X-Shop-Hmac":         {"marked"},
		"X-Forwarded-For":     {"192.0.2.1"},
		"Content-Type":        {"application/json"},
		"Content-Length":      {"2"},
		"Content-Signature":   {"marked"},
		"Content-Hmac":        {"marked"},
		"Content-Encoding":    {"identity"},
		"User-Agent":          {"Shop/1", "twice"},
		"Traceparent":         {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	always := http.Header{}
	for _, name := range []string{"Content-Type", "Content-Encoding", "User-Agent", "Traceparent"} {
		always[name] = sent[name]
	}
	with := func(names ...string) http.Header {
		h := always.Clone()
		for _, name := range names {
			h[name] = sent[name]
		}
		return h
	}
	for _, test := range []struct {
		name       string
		keep, hide []string
		want       http.Header
	}{
		{"by default", nil, nil, always},
		{"named, in any case", []string{"x-shop-topic"}, nil, with("X-Shop-Topic")},
		{"by prefix, but for what is hidden", []string{"X-Shop-*"}, []string{"X-SHOP-HMAC"}, with("X-Shop-Topic")},
		{"all, but never the credentials", []string{"*", "Authorization", "cookie"}, []string{"X-Api-Key", "X-Shop-*"}, with("X-Forwarded-For")},
		{"hiding wins", nil, []string{"content-*", "Traceparent"}, http.Header{"User-Agent": sent["User-Agent"]}},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, kept(t, webhook.Verifier{Keep: test.keep, Hide: test.hide}, sent))
		})
	}
}

func TestVerifier_BoundsHeaders(t *testing.T) {
	v := webhook.Verifier{Keep: []string{"X-*"}}
	h := http.Header{"Content-Type": {"application/json"}}
	for i := range 20 {
		h.Set(fmt.Sprintf("X-%02d", i), strings.Repeat("x", 1000))
	}
	got := kept(t, v, h)
	require.Len(t, got, 9)
	require.Contains(t, got, "Content-Type")
	require.Contains(t, got, "X-07", "the first ones by name, whatever the order of the map")

	h = http.Header{"X-Many": make([]string, 10_000)}
	require.Empty(t, kept(t, v, h), "names count, once for each line")
}
