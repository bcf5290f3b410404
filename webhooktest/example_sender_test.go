package webhooktest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/webhooktest"
)

// send is the user's sender: it signs each attempt anew, and tries again until it
// is answered with 2xx.
func send(t testing.TB, c *http.Client, v webhook.Verifier, url string, e webhook.Event) {
	t.Helper()
	for range 10 {
		res, err := c.Do(webhooktest.Request(t, v, url, e))
		if err == nil {
			res.Body.Close()
			if res.StatusCode/100 == 2 {
				return
			}
		}
		time.Sleep(time.Minute)
	}
}

// TestExample_Sender is how a user tests a sender: against a receiver that fails
// in every way, in fake time, and then by what has come.
func TestExample_Sender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receiver := webhooktest.NewReceiver(t,
			webhooktest.Status(500), webhooktest.RetryAfter(429, time.Minute), webhooktest.Reset(),
			webhooktest.WrongCertificate(), webhooktest.Hang(), webhooktest.Redirect(302, "https://elsewhere.example"),
		)
		client := &http.Client{
			Transport:     receiver,
			Timeout:       15 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		v := webhook.Must(provider.StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
		send(t, client, v, "https://receiver.example/hooks", webhook.Event{ID: "msg_1", Body: []byte(`{"type":"invoice.paid"}`)})

		receiver.RequireOnce(t, v) // each request signed, the event accepted once
		require.Len(t, receiver.Requests(), 6, "the wrong certificate was sent nothing")
	})
}
