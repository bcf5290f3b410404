package webhooktest_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/webhooktest"
)

// tellPaid is the user's code that sends.
func tellPaid(ctx context.Context, out *webhook.Dispatcher, invoice int) error {
	_, err := out.Send(ctx, webhook.Event{
		ID: fmt.Sprintf("invoice-%d-paid", invoice), Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid"}`),
	})
	return err
}

// TestExample_Dispatcher is how a user tests what a Dispatcher sends: to a receiver
// that fails in several ways, and through all retries, which take more than a day
// of the fake clock and no time of the test.
func TestExample_Dispatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receiver := webhooktest.NewReceiver(t,
			webhooktest.Status(500), webhooktest.RetryAfter(429, time.Hour), webhooktest.Reset(),
			webhooktest.WrongCertificate(), webhooktest.Hang(), webhooktest.Redirect(302, "https://elsewhere.example"),
		)
		secret := signature.NewSecret()
		out, err := webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
			Endpoints: webhook.EndpointList{{ID: "ep_1", URL: "https://receiver.example/hooks", Secrets: []webhook.Secret{{Value: secret}}}},
			Unguarded: func(webhook.Endpoint) http.RoundTripper { return receiver },
		})
		require.NoError(t, err)

		require.NoError(t, tellPaid(t.Context(), out, 7))
		webhooktest.Settle(t, out)
		receiver.RequireOnce(t, webhook.Must(provider.StandardWebhooks(secret))) // signed each time, accepted once
		require.Len(t, receiver.Requests(), 6, "the wrong certificate was sent nothing")
		require.Equal(t, "invoice-7-paid", receiver.Requests()[0].Header.Get("Webhook-Id"))
	})
}
