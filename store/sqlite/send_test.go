package sqlite_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// An event is not written where its dispatcher never looks.
func TestSendIn_AnotherStore(t *testing.T) {
	ctx, path := t.Context(), file(t)
	ours, same, other := open(t, path), open(t, path), open(t, file(t))
	out, err := webhook.NewDispatcher(ours, webhook.DispatcherConfig{Endpoints: webhook.EndpointList{
		{ID: "acme", URL: "https://example.com", Secrets: []webhook.Secret{{Value: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}},
	}})
	require.NoError(t, err)
	send := func(ctx context.Context, w store.Tx) error {
		_, err := out.SendIn(ctx, w, webhook.Event{Type: "invoice.paid", Body: []byte("{}")})
		return err
	}
	through := func(_ *sql.Tx, w store.Tx) store.Tx { return w }
	for _, test := range []struct {
		name  string
		begun *sqlite.Store
		w     func(tx *sql.Tx, w store.Tx) store.Tx
		want  error
	}{
		{"its own", ours, through, nil},
		{"another store's on the same file", same, through, nil},
		{"another file's", other, through, webhook.ErrMalformed},
		{"another file's, begun elsewhere", other, func(tx *sql.Tx, _ store.Tx) store.Tx { return other.Tx(tx) }, webhook.ErrMalformed},
		{"nil", ours, func(*sql.Tx, store.Tx) store.Tx { return nil }, webhook.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.begun.Transact(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
				return send(ctx, test.w(tx, w))
			})
			require.ErrorIs(t, err, test.want)
		})
	}
	stats, _, err := other.Stats(ctx, "outbox", "", 0)
	require.NoError(t, err)
	require.Zero(t, stats[0].Queued)
	stats, _, err = ours.Stats(ctx, "outbox", "", 0)
	require.NoError(t, err)
	require.Equal(t, 2, stats[0].Queued)
}
