package provider_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// presets are all functions of the package, by the names that vectors have.
var presets = map[string]func(secrets ...string) (webhook.Verifier, error){
	"github":            provider.GitHub,
	"shopify":           provider.Shopify,
	"slack":             provider.Slack,
	"standard_webhooks": provider.StandardWebhooks,
	"stripe":            provider.Stripe,
	"svix":              provider.Svix,
}

// vector is a request with its signature, as testdata/vectors.json describes it.
type vector struct {
	Provider, Name, Kind string
	Method, URL          string
	Headers              map[string]string
	Body                 string
	Valid                bool
	Now                  int64 // 0: no time is signed
	Source               string
	Secret               string `json:"secret_base64"`
}

// handshake is a vector with the exact answer.
type handshake struct {
	vector
	Status   int
	Answered map[string]string `json:"response_headers"`
	Answer   string            `json:"response_body"`
}

func vectors(tb testing.TB) (vs []vector, hs []handshake) {
	tb.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(tb, err)
	var file struct {
		Vectors    []vector
		Handshakes []handshake
	}
	require.NoError(tb, json.Unmarshal(b, &file))
	require.NotEmpty(tb, file.Vectors)
	require.NotEmpty(tb, file.Handshakes)
	return file.Vectors, file.Handshakes
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
	type count struct{ valid, refused int }
	seen := map[string]count{}
	vs, _ := vectors(t)
	for _, v := range vs {
		t.Run(v.Provider+"/"+v.Name, func(t *testing.T) {
			verifier, err := presets[v.Provider](v.secret(t))
			require.NoError(t, err)
			events, err := verifier.Verify(t.Context(), v.request(t))
			n := seen[v.Provider]
			if !v.Valid {
				var answer *webhook.Answer
				require.ErrorAs(t, err, &answer)
				require.Equal(t, http.StatusUnauthorized, answer.Status)
				seen[v.Provider] = count{n.valid, n.refused + 1}
				return
			}
			require.NoError(t, err)
			require.Len(t, events, 1)
			require.Equal(t, v.Body, string(events[0].Body))
			require.NotEmpty(t, events[0].ID)
			seen[v.Provider] = count{n.valid + 1, n.refused}
		})
	}
	for name := range presets {
		require.NotZero(t, seen[name].valid, "no valid vector of %s", name)
		require.NotZero(t, seen[name].refused, "no vector of %s that must be refused", name)
	}
}

func TestPresets_Handshakes(t *testing.T) {
	_, hs := vectors(t)
	for _, h := range hs {
		t.Run(h.Provider+"/"+h.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				verifier, err := presets[h.Provider](h.secret(t))
				require.NoError(t, err)
				next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handshake reached the handler") })
				route := webhook.Verify(h.Provider, verifier)(next)

				time.Sleep(time.Until(time.Unix(h.Now, 0)))
				r := httptest.NewRequestWithContext(t.Context(), h.Method, h.URL, strings.NewReader(h.Body))
				for name, value := range h.Headers {
					r.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				route.ServeHTTP(w, r)
				require.Equal(t, h.Status, w.Code)
				require.Equal(t, h.Answer, w.Body.String())
				for name, value := range h.Answered {
					require.Equal(t, value, w.Header().Get(name))
				}
			})
		})
	}
}
