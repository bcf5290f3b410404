package provider_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// The log says why a request was refused, with a reason to count and words that
// help to mend it; the answer does not.
func TestPresets_Diagnosis(t *testing.T) {
	versioned := func(s sender) bool { return s.version != "" }
	for _, test := range []struct {
		name   string
		only   func(s sender) bool
		spin   func(s sender, r *webhook.Request)
		reason string
		says   []string
	}{
		{"header missing", nil, func(s sender, r *webhook.Request) {
			r.Header.Del(s.header)
		}, "header_missing", []string{"is missing or empty", "a proxy took the header away"}},
		{"wrong format: no version", versioned, func(s sender, r *webhook.Request) {
			s.replace(r, "0123456789abcdef")
		}, "header_format", []string{"has no entry that begins with"}},
		{"wrong format: length", nil, func(s sender, r *webhook.Request) {
			s.replace(r, s.version+"0123456789abcdef")
		}, "header_format", []string{"characters, none of 1 in the request has"}},
		{"clock off: behind", sender.isTimed, func(s sender, r *webhook.Request) {
			*r = *s.at(time.Now().Add(-412*time.Second), 0, "evt_1", "evt_1")
		}, "clock", []string{"signed 6m52s before it arrived", "tolerated are 5m0s", "a clock that is off"}},
		{"clock off: ahead", sender.isTimed, func(s sender, r *webhook.Request) {
			*r = *s.at(time.Now().Add(412*time.Second), 0, "evt_1", "evt_1")
		}, "clock", []string{"signed 6m52s after it arrived"}},
		{"clock: milliseconds", sender.isTimed, func(s sender, r *webhook.Request) {
			*r = *s.request(s.secrets[0], "evt_1", unix(time.Unix(time.Now().UnixMilli(), 0)), s.body("evt_1"))
		}, "clock", []string{"looks like milliseconds"}},
		{"keys tried", nil, func(s sender, r *webhook.Request) {
			*r = *s.at(time.Now(), 1, "evt_1", "evt_1")
		}, "signature", []string{"secrets tried: 1", "the secret is another endpoint's"}},
		{"body changed on the way", nil, func(_ sender, r *webhook.Request) {
			r.Body = bytes.ReplaceAll(r.Body, []byte(":"), []byte(": "))
		}, "signature", []string{"the body was changed on its way (a proxy, a parser)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, test.only, func(t *testing.T, s sender) {
				synctest.Test(t, func(t *testing.T) {
					r := s.at(time.Now(), 0, "evt_1", "evt_1")
					test.spin(s, r)
					requireDiagnosis(t, s, r, test.reason, test.says...)
				})
			})
		})
	}
}

// A request of any preset's sender at the route of any other.
func TestPresets_DiagnosisOfOthers(t *testing.T) {
	brands := map[string]string{
		"github": "GitHub", "shopify": "Shopify", "slack": "Slack", "standard_webhooks": "Standard Webhooks", "stripe": "Stripe", "svix": "Svix",
	}
	for _, from := range senders {
		t.Run("from "+from.preset, func(t *testing.T) {
			each(t, func(s sender) bool { return s.preset != from.preset }, func(t *testing.T, s sender) {
				synctest.Test(t, func(t *testing.T) {
					requireDiagnosis(t, s, from.at(time.Now(), 0, "evt_1", "evt_1"), "other_sender",
						s.header+" is missing, and there is "+from.header, "this looks like a request of", brands[from.preset])
				})
			})
		})
	}
}

func TestGitHub_DiagnosisOfSHA1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := named("github")
		r := s.at(time.Now(), 0, "evt_1", "evt_1")
		r.Header.Del(s.header)
		r.Header.Set("X-Hub-Signature", hubSHA1(s.secrets[0], string(r.Body)))
		requireDiagnosis(t, s, r, "header_missing", "only the SHA-1 signature is there (X-Hub-Signature), which is not accepted")
	})
}

// requireDiagnosis requires that the route of s refuses r, with a log record for
// that reason that says why and gives nothing away.
func requireDiagnosis(t *testing.T, s sender, r *webhook.Request, reason string, says ...string) {
	t.Helper()
	var log bytes.Buffer
	v := s.verifier(t, s.secrets[0])
	v.Telemetry.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	route := webhook.Verify("source", v)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") }))
	sent := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hook", bytes.NewReader(r.Body))
	sent.Header = r.Header
	w := httptest.NewRecorder()
	route.ServeHTTP(w, sent)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Equal(t, "signature refused\n", w.Body.String())

	var record struct{ Level, Source, Reason, Error string }
	require.NoError(t, json.Unmarshal(log.Bytes(), &record), "one record: %s", log.String())
	var all map[string]any
	require.NoError(t, json.Unmarshal(log.Bytes(), &all))
	require.ElementsMatch(t, slices.Collect(maps.Keys(all)), []string{
		"time", "level", "msg", "status", "source", "reason", "http_status", "duration", "error",
	}, "what docs/security.md says of a refused request")
	require.Equal(t, "WARN", record.Level)
	require.Equal(t, "source", record.Source)
	require.Equal(t, reason, record.Reason, record.Error)
	for _, text := range append(says, "checked as "+s.preset) {
		require.Contains(t, record.Error, text)
	}
	requireDiscreet(t, log.String(), r)
}
