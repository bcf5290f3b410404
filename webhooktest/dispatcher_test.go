package webhooktest_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/webhooktest"
)

// faults are all that a Receiver does, and what a Dispatcher makes of each.
var faults = map[string]struct {
	fault webhooktest.Fault
	class string // of the first attempt; empty: it succeeded
	state store.State
	held  store.HoldKind
}{
	"none":                  {webhooktest.Fault{}, "", store.Processed, ""},
	"299":                   {webhooktest.Status(299), "", store.Processed, ""},
	"404":                   {webhooktest.Status(404), "http_4xx", store.Queued, ""},
	"599":                   {webhooktest.Status(599), "http_5xx", store.Queued, ""},
	"410":                   {webhooktest.Gone(), "http_4xx", store.Dead, store.Disabled},
	"502":                   {webhooktest.Status(502), "http_5xx", store.Queued, store.Slowed},
	"429 for an hour":       {webhooktest.RetryAfter(429, time.Hour), "http_4xx", store.Queued, store.Slowed},
	"503 for a century":     {webhooktest.RetryAfter(503, 100*365*24*time.Hour), "http_5xx", store.Queued, store.Slowed},
	"redirect":              {webhooktest.Redirect(302, "https://elsewhere.example/"), "http_3xx", store.Queued, ""},
	"redirect to itself":    {webhooktest.Redirect(307, "/"), "http_3xx", store.Queued, ""},
	"redirect to a machine": {webhooktest.Redirect(308, "http://169.254.169.254/latest"), "http_3xx", store.Queued, ""},
	"slow":                  {webhooktest.Slow(50 * time.Millisecond), "", store.Processed, ""},
	"slower than allowed":   {webhooktest.Slow(time.Hour), "timeout", store.Queued, ""},
	"hang":                  {webhooktest.Hang(), "timeout", store.Queued, ""},
	"a drip that ends":      {webhooktest.Drip(time.Millisecond, 5), "", store.Processed, ""},
	"a drip without end":    {webhooktest.Drip(10*time.Millisecond, 0), "timeout", store.Queued, ""},
	"huge":                  {webhooktest.Huge(1 << 30), "", store.Processed, ""},
	"gzip bomb":             {webhooktest.Compressed(1 << 30), "", store.Processed, ""},
	"reset":                 {webhooktest.Reset(), "reset", store.Queued, ""},
	"wrong certificate":     {webhooktest.WrongCertificate(), "tls", store.Queued, ""},
}

// newDispatcher sends to one endpoint at url, through rt if it is not nil.
func newDispatcher(t testing.TB, url string, rt http.RoundTripper) *webhook.Dispatcher {
	t.Helper()
	out, err := webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
		Endpoints: webhook.EndpointList{{
			ID: "a", URL: url, Timeout: 500 * time.Millisecond, Secrets: []webhook.Secret{{Value: signature.NewSecret()}},
		}},
		Queue:     webhook.QueueConfig{Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}},
		Guard:     webhook.Guard{Development: true},
		Unguarded: func(webhook.Endpoint) http.RoundTripper { return rt },
	})
	require.NoError(t, err)
	return out
}

// attempted returns the one delivery of out, and the holds that stand at its
// endpoint.
func attempted(t testing.TB, out *webhook.Dispatcher) (d store.Delivery, held []store.Hold) {
	t.Helper()
	for found, err := range out.Queue().Find(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		d, err = out.Queue().Get(t.Context(), found.ID)
		require.NoError(t, err)
	}
	for s, err := range out.Queue().Destinations(t.Context()) {
		require.NoError(t, err)
		held = s.Held
	}
	return d, held
}

// runDispatcher runs out until the test ends.
func runDispatcher(t *testing.T, out *webhook.Dispatcher) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- out.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ran)
	})
}

// A Dispatcher meets each fault as a transport of the caller's does, in fake time.
func TestDispatcher_FaultsInFakeTime(t *testing.T) {
	for name, c := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				receiver := webhooktest.NewReceiver(t, c.fault)
				out := newDispatcher(t, "https://receiver.example/", receiver)
				runDispatcher(t, out)
				_, err := out.Send(t.Context(), webhook.Event{ID: "1", Body: []byte("{}")})
				require.NoError(t, err)
				time.Sleep(time.Second)
				synctest.Wait()
				d, held := attempted(t, out)
				requireFate(t, name, d, held)
			})
		})
	}
}

// And with its own client over sockets: what the kit shows is what there is.
func TestDispatcher_FaultsOverSockets(t *testing.T) {
	for name, c := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receiver := webhooktest.NewReceiver(t, c.fault)
			url := receiver.URL
			if name == "wrong certificate" {
				url = receiver.TLSURL
			}
			out := newDispatcher(t, url(), nil)
			runDispatcher(t, out)
			_, err := out.Send(t.Context(), webhook.Event{ID: "1", Body: []byte("{}")})
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				d, _ := attempted(t, out)
				return len(d.Attempts) > 0
			}, 30*time.Second, time.Millisecond)
			d, held := attempted(t, out)
			requireFate(t, name, d, held)
			if c.class != "tls" {
				require.Len(t, receiver.Requests(), 1, "a redirect was followed, or it was sent again at once")
			}
		})
	}
}

// requireFate wants a delivery as faults has it after the first attempt.
func requireFate(t testing.TB, name string, d store.Delivery, held []store.Hold) {
	t.Helper()
	want := faults[name]
	require.Len(t, d.Attempts, 1)
	a := d.Attempts[0]
	require.Equal(t, want.class, a.Class, a.Err)
	require.Equal(t, want.state, d.State, a.Err)
	require.LessOrEqual(t, len(a.Response), 4096)
	if want.held == "" {
		require.Empty(t, held)
		return
	}
	require.Len(t, held, 1)
	require.Equal(t, want.held, held[0].Kind)
	require.LessOrEqual(t, held[0].For, 24*time.Hour)
	require.LessOrEqual(t, time.Until(d.Due), 24*time.Hour)
}

// Settle runs a Dispatcher through its whole schedule: three days and more, of an
// endpoint that takes nothing, of one that asks for time, and of one that wants
// nothing more, whose deliveries wait for a person.
func TestSettle_Dispatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := []webhooktest.Fault{webhooktest.RetryAfter(503, 20*time.Hour)}
		for range 10 {
			script = append(script, webhooktest.Status(500))
		}
		receiver := webhooktest.NewReceiver(t, append(script, webhooktest.Gone())...)
		out := newDispatcher(t, "https://receiver.example/", receiver)
		begin := time.Now()
		send := func(id string) {
			_, err := out.Send(t.Context(), webhook.Event{ID: id, Body: []byte("{}")})
			require.NoError(t, err)
		}
		send("dies")
		webhooktest.Settle(t, out)
		require.Equal(t, store.Dead, states(t, out.Queue())["dies"])
		require.Len(t, receiver.Requests(), 11)
		require.Greater(t, time.Since(begin), 3*24*time.Hour)

		send("gone")
		webhooktest.Settle(t, out)
		send("waits")
		webhooktest.Settle(t, out)
		require.Equal(t, map[string]store.State{"dies": store.Dead, "gone": store.Dead, "waits": store.Queued}, states(t, out.Queue()))
		require.NoError(t, out.Queue().Resume(t.Context(), "a"))
		webhooktest.Settle(t, out)
		require.Equal(t, store.Processed, states(t, out.Queue())["waits"])
	})
}
