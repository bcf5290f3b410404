package provider_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// None of these senders has a handshake that is not a POST: other methods are
// refused, signed or not, and told of what they mostly are.
func TestPresets_Methods(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodPatch, http.MethodDelete, "post"} {
		t.Run(method, func(t *testing.T) {
			each(t, nil, func(t *testing.T, s sender) {
				v := s.verifier(t, s.secrets[0])
				v.Tolerance = -1 // the route's clock is not this test's
				v.Telemetry.Logger = slog.New(slog.DiscardHandler)
				ran := false
				route := webhook.Verify(s.preset, v)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
				send := func(method string) *httptest.ResponseRecorder {
					genuine := s.genuine()
					r := httptest.NewRequestWithContext(t.Context(), method, "/hook", bytes.NewReader(genuine.Body))
					r.Header = genuine.Header
					w := httptest.NewRecorder()
					route.ServeHTTP(w, r)
					return w
				}
				w := send(method)
				require.Equal(t, http.StatusMethodNotAllowed, w.Code)
				require.Equal(t, "POST", w.Header().Get("Allow"))
				require.Contains(t, w.Body.String(), "redirect")
				require.False(t, ran)

				require.Equal(t, http.StatusOK, send(http.MethodPost).Code)
				require.True(t, ran)
			})
		})
	}
}
