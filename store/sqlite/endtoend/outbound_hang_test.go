package endtoend

import (
	"context"
	"database/sql"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
)

// No transaction is open while an endpoint is called: calls that hang keep nobody
// from writing.
func TestSend_HangingCallsHoldNoTransaction(t *testing.T) {
	const hanging, patience = 8, time.Second
	st := openFile(t)
	var calls atomic.Int32
	release := make(chan struct{})
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Endpoints: webhook.EndpointList{{ID: "a", URL: "https://a.example", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}},
		Unguarded: func(webhook.Endpoint) http.RoundTripper {
			return roundTrip(func(*http.Request) (*http.Response, error) {
				calls.Add(1)
				<-release
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			})
		},
	})
	require.NoError(t, err)
	run(t, out)
	defer close(release) // before the drain
	for range hanging {
		_, err := out.Send(t.Context(), webhook.Event{Body: []byte("{}")})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return calls.Load() == hanging }, 10*time.Second, time.Millisecond)

	start := time.Now()
	require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE host (id INTEGER)")
		return err
	}))
	_, err = out.Send(t.Context(), webhook.Event{Body: []byte("{}")})
	require.NoError(t, err)
	require.Less(t, time.Since(start), patience)
	require.EqualValues(t, hanging, calls.Load(), "they hang still")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
