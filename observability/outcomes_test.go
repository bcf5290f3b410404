package observability

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
)

// What is handled while its sender waits, or handed on, is counted once, whatever
// stands behind what.
func TestMetrics_CountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		synctest.Wait()
		status := 200
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		var forwarded error
		forward := webhook.Forward(func(context.Context, []webhook.Event) error { return forwarded })
		deduplicate := func(space string) func(http.Handler) http.Handler {
			return webhook.Deduplicate(s.st.Store.(store.Keys), webhook.DedupConfig{Space: space, Telemetry: s.telemetry})
		}
		for name, h := range map[string]http.Handler{
			"sync":           deduplicate("sync")(handler),
			"forwarded":      forward,
			"sync-forwarded": deduplicate("forward")(forward),
			"sync-sync":      deduplicate("outer")(deduplicate("inner")(handler)),
			"sync-stored":    deduplicate("stored")(s.inbox.Receive(audit)),
		} {
			v := webhook.Must(provider.StandardWebhooks(acmeSecret))
			v.Telemetry = s.telemetry
			s.mux.Handle("/webhooks/"+name, webhook.Verify(name, v)(h))
		}
		send := func(want int, name, id string) {
			t.Helper()
			require.Equal(t, want, s.send(contact(id).with(func(q *request) { q.path = "/webhooks/" + name })).Code, name)
		}
		all := []string{"sync", "forwarded", "sync-forwarded", "sync-sync", "sync-stored"}
		for _, name := range all {
			send(200, name, "msg_1")
		}
		status, forwarded = 500, errors.New("full")
		s.st.failing.Store(true)
		for i, name := range all {
			send([]int{500, 503, 503, 500, 503}[i], name, "msg_2")
		}
		s.st.failing.Store(false)
		for _, name := range all {
			if name != "forwarded" {
				send(200, name, "msg_1")
			}
		}
		got := sums(t, s.collect()["webhook.received.events"], "webhook.source", "webhook.outcome", "error.type")
		maps.DeleteFunc(got, func(_ string, n int64) bool { return n == 0 })
		require.Equal(t, map[string]int64{
			"sync accepted": 1, "sync duplicate": 1, "sync rejected handler": 1,
			"forwarded accepted": 1, "forwarded rejected forward": 1,
			"sync-forwarded accepted": 1, "sync-forwarded duplicate": 1, "sync-forwarded rejected forward": 1,
			"sync-sync accepted": 1, "sync-sync duplicate": 1, "sync-sync rejected handler": 1,
			"sync-stored accepted": 1, "sync-stored duplicate": 1, "sync-stored rejected store": 1,
		}, got)
	})
}

// An attempt whose outcome does not count has failed, whatever its handler says.
func TestMetrics_OutcomeThatDoesNotCount(t *testing.T) {
	for errorType, change := range map[string]func(*store.Results) error{
		"lease_lost": func(res *store.Results) error {
			res.Settles[0] = store.LeaseLost
			return nil
		},
		"not_settled": func(*store.Results) error { return store.ErrBadData },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t)
			synctest.Wait()
			s.st.settles.Store(&change)
			_, err := s.inbox.Add(t.Context(), webhook.Event{Source: "cron", ID: "1", To: []string{audit}})
			require.NoError(t, err)
			pass(time.Second)()
			s.st.settles.Store(nil)
			m := s.collect()
			require.Equal(t, map[string]int64{"audit failed " + errorType: 1},
				sums(t, m["messaging.client.consumed.messages"], "messaging.destination.name", "webhook.outcome", "error.type"))
			require.Zero(t, sums(t, m["webhook.delivery.retries"], "messaging.destination.name")[audit])
			span := s.named("process audit")[0]
			require.Equal(t, codes.Error, span.Status.Code)
			require.Equal(t, errorType, attributes(span)["error.type"])
		})
	}
}

// The commit of its own transaction completes a delivery, whatever is returned.
func TestMetrics_CompletedInItsTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		inbox := webhook.Must(webhook.NewInbox(s.st, webhook.InboxConfig{Queue: webhook.QueueConfig{Name: "other", Telemetry: s.telemetry}}))
		inbox.Handle("completes", func(ctx context.Context, _ webhook.Event) error {
			if err := store.CompleteIn(ctx, ownTx{s.st.Store}); err != nil {
				return err
			}
			return errors.New("too late")
		})
		ctx, end := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- inbox.Run(ctx) }()
		synctest.Wait()
		_, err := inbox.Add(t.Context(), webhook.Event{Source: "cron", ID: "1", To: []string{"completes"}})
		require.NoError(t, err)
		pass(time.Second)()
		require.Equal(t, map[string]int64{"completes processed": 1}, sums(t, s.collect()["messaging.client.consumed.messages"],
			"messaging.destination.name", "webhook.outcome", "error.type"))
		require.Equal(t, codes.Unset, s.named("process completes")[0].Status.Code)
		end()
		require.NoError(t, <-ran)
	})
}

// ownTx is a transaction that commits what is written to it.
type ownTx struct{ st store.Store }

func (tx ownTx) Write(ctx context.Context, b *store.Batch) (*store.Results, error) {
	return tx.st.Commit(ctx, b)
}

// A time that is refused before it is known to be signed says nothing about
// anybody's clock.
func TestMetrics_SkewOfSignedTimesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		fits    bool
		keyless bool
		want    int
	}{
		"the secret fitted":    {true, false, 1},
		"none was tried":       {false, false, 0},
		"there are no secrets": {false, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			reader := metric.NewManualReader()
			v := webhook.Verifier{
				Keyless:   c.keyless,
				Telemetry: webhook.Telemetry{Meter: metric.NewMeterProvider(metric.WithReader(reader)), Logger: slog.New(slog.DiscardHandler)},
				Check: func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
					if c.fits {
						r.Try(func(webhook.Secret) bool { return true })
					}
					return nil, r.Fresh(r.Time.Add(-time.Hour))
				},
			}
			if !c.keyless {
				v.Secrets = func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
					return []webhook.Secret{{Value: "s"}}, nil
				}
			}
			w := httptest.NewRecorder()
			webhook.Verify("shop", v)(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
			require.Equal(t, 401, w.Code)
			skew := collected(t, reader)["webhook.clock.skew"]
			if c.want == 0 {
				require.Nil(t, skew.Data)
				return
			}
			got := histograms(t, skew, "webhook.outcome", "webhook.clock.direction")["rejected behind"]
			require.Equal(t, uint64(1), got.Count)
			require.InDelta(t, 3600, got.Sum, 1)
		})
	}
}
