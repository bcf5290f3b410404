package webhooktest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/webhooktest"
)

// bill is the user's handler.
func bill(_ context.Context, e webhook.Event) error {
	var invoice struct{ Data struct{ Amount int } }
	if err := e.Decode(&invoice); err != nil {
		return err
	}
	if invoice.Data.Amount < 0 {
		return errors.New("the ledger refuses it")
	}
	return nil
}

// TestExample_Handler is how a user tests a handler: a request that Stripe could
// have sent, through the program's route, and what has become of it when all
// retries are over.
func TestExample_Handler(t *testing.T) {
	for body, want := range map[string]store.State{
		`{"id":"evt_1","data":{"amount":5}}`:  store.Processed,
		`{"id":"evt_2","data":{"amount":-5}}`: store.Dead, // after eight attempts
		`{"id":"evt_3","data":[]}`:            store.Dead, // at once
	} {
		synctest.Test(t, func(t *testing.T) {
			inbox := newInbox(t, webhook.QueueConfig{})
			inbox.Handle("billing", bill)
			stripe := webhook.Must(provider.Stripe("whsec_test"))
			route := webhook.Verify("stripe", stripe)(inbox.Receive("billing"))

			w := httptest.NewRecorder()
			route.ServeHTTP(w, webhooktest.Request(t, stripe, "/stripe", webhook.Event{Body: []byte(body)}))
			require.Equal(t, http.StatusOK, w.Code)
			webhooktest.Settle(t, inbox)
			n, err := inbox.Queue().Count(t.Context(), store.Filter{States: []store.State{want}}, 2)
			require.NoError(t, err)
			require.Equal(t, 1, n, want)
		})
	}
}
