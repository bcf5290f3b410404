package observability

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// What is handled while the sender waits, or handed on, counts as received too: once
// for each time that it came.
func TestMetrics_WithoutAnInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		shop := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
			return []webhook.Event{{ID: string(r.Body)}}, nil
		})
		shop.Telemetry = s.telemetry
		tries := 0
		dedup := webhook.Deduplicate(memory.New(), webhook.DedupConfig{Telemetry: s.telemetry})
		s.mux.Handle("/dedup", webhook.Chain(webhook.Verify("handled", shop), dedup)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			if tries++; tries == 1 {
				w.WriteHeader(http.StatusBadGateway)
			}
		})))
		s.mux.Handle("/forward", webhook.Verify("forwarded", shop)(webhook.Forward(func(_ context.Context, events []webhook.Event) error {
			switch events[0].ID {
			case "later":
				return errors.New("broker is down")
			case "never":
				return webhook.Permanent(errors.New("not for us"))
			}
			return nil
		})))
		send := func(path, id string) {
			s.mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(id)))
		}
		send("/dedup", "1") // fails
		go send("/dedup", "1")
		synctest.Wait()
		send("/dedup", "1") // while it is handled
		time.Sleep(2 * time.Second)
		send("/dedup", "1") // known
		for _, id := range []string{"2", "3", "later", "never"} {
			send("/forward", id)
		}

		got := sums(t, s.collect()["webhook.received.events"], "webhook.source", "webhook.preset", "webhook.outcome", "error.type")
		want := map[string]int64{
			"handled unverified accepted":                     1,
			"handled unverified duplicate":                    2,
			"handled unverified rejected handler":             1,
			"forwarded unverified accepted":                   2,
			"forwarded unverified duplicate":                  0,
			"forwarded unverified rejected forward":           1,
			"forwarded unverified rejected forward_permanent": 1,
		}
		for key, n := range want {
			require.Equal(t, n, got[key], key)
		}
	})
}
