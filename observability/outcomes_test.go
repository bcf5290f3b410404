package observability

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

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
