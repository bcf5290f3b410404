package provider_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// presets are all functions of the package, by the names that vectors have.
var presets = map[string]func(secrets ...string) (webhook.Verifier, error){
	"standard_webhooks": provider.StandardWebhooks,
	"stripe":            provider.Stripe,
}

// vector is a request with its signature, as testdata/vectors.json describes it.
type vector struct {
	Provider, Name, Kind string
	Method, URL          string
	Headers              map[string]string
	Body                 string
	Valid                bool
	Now                  int64
	Source               string
	Secret               string `json:"secret_base64"`
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(tb, err)
	var file struct{ Vectors []vector }
	require.NoError(tb, json.Unmarshal(b, &file))
	require.NotEmpty(tb, file.Vectors)
	return file.Vectors
}

func (v vector) secret(tb testing.TB) string {
	tb.Helper()
	secret, err := base64.StdEncoding.DecodeString(v.Secret)
	require.NoError(tb, err)
	return string(secret)
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

func TestPresets_Vectors(t *testing.T) {
	seen := map[string]int{}
	for _, v := range vectors(t) {
		t.Run(v.Provider+"/"+v.Name, func(t *testing.T) {
			verifier, err := presets[v.Provider](v.secret(t))
			require.NoError(t, err)
			events, err := verifier.Verify(t.Context(), v.request(t))
			if !v.Valid {
				require.ErrorIs(t, err, webhook.ErrSignature)
				return
			}
			require.NoError(t, err)
			require.Len(t, events, 1)
			require.Equal(t, v.Body, string(events[0].Body))
			require.True(t, events[0].Proof.ID)
			seen[v.Provider]++
		})
	}
	for name := range presets {
		require.NotZero(t, seen[name], "no valid vector of %s", name)
	}
}
