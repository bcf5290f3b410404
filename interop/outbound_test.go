package interop_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// signerOf returns the name under which a Dispatcher signs for the SDK, and the
// signers beside "standard" that it needs for that.
func (s sdk) signerOf(t *testing.T) (name string, signers map[string]webhook.Signer) {
	t.Helper()
	if s.name == "standard-webhooks" {
		return "standard", nil
	}
	v, err := s.preset()
	require.NoError(t, err)
	return s.name, map[string]webhook.Signer{s.name: v.Sign}
}

// dispatch sends an event to the handler, behind a server, and returns its delivery
// once it is processed.
func dispatch(t *testing.T, h http.Handler, e webhook.Event, ep webhook.Endpoint, signers map[string]webhook.Signer) store.Delivery {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	ep.ID, ep.URL = "receiver", server.URL
	out, err := webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
		Endpoints: webhook.EndpointList{ep},
		Signers:   signers,
		Guard:     webhook.Guard{Development: true},
		Queue: webhook.QueueConfig{
			Retry:     webhook.RetryPolicy{Attempts: 2, Delays: []time.Duration{time.Millisecond}},
			Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)},
		},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- out.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(t, <-ran)
	}()
	_, err = out.Send(t.Context(), e)
	require.NoError(t, err)
	var d store.Delivery
	require.Eventually(t, func() bool {
		for found, err := range out.Queue().Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			d = found
		}
		return d.State == store.Processed || d.State == store.Dead
	}, 30*time.Second, 5*time.Millisecond)
	d, err = out.Queue().Get(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, store.Processed, d.State, d.Reason)
	return d
}

// sent returns the request that a Dispatcher makes of the SDK's event.
func (s sdk) sent(t *testing.T, body string, secrets ...string) message {
	t.Helper()
	var m message
	name, signers := s.signerOf(t)
	ep := webhook.Endpoint{Signers: []string{name}}
	for _, secret := range secrets {
		ep.Secrets = append(ep.Secrets, webhook.Secret{Value: secret})
	}
	dispatch(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		m = message{r.Header, string(b)}
	}), webhook.Event{ID: s.id, Type: s.typ, Body: []byte(body)}, ep, signers)
	return m
}

// The SDK is the receiver: it takes each attempt of a delivery.
func TestDispatcher_AcceptedAtEachAttempt(t *testing.T) {
	each(t, func(t *testing.T, s sdk) {
		var mu sync.Mutex
		var refusals []error
		times := map[string]bool{}
		name, signers := s.signerOf(t)
		d := dispatch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			times[r.Header.Get(s.timed)] = true
			refusals = append(refusals, s.check(r, s.secrets[0]))
			if len(refusals) == 1 {
				time.Sleep(1100 * time.Millisecond) // so that the next attempt has another time
				w.WriteHeader(http.StatusInternalServerError)
			}
		}), webhook.Event{ID: s.id, Type: s.typ, Body: []byte(s.body)},
			webhook.Endpoint{Secrets: []webhook.Secret{{Value: s.secrets[0]}}, Signers: []string{name}}, signers)
		require.Equal(t, []error{nil, nil}, refusals)
		require.Len(t, d.Attempts, 2)
		if s.timed != "" {
			require.Len(t, times, 2, "each attempt is signed anew")
		}
	})
}

// One request carries all signatures, each of the SDKs takes it by its own.
func TestDispatcher_SideBySide(t *testing.T) {
	stripe := named(t, "stripe-go")
	ep := webhook.Endpoint{Secrets: []webhook.Secret{{Value: standardSecret}}}
	all := map[string]webhook.Signer{}
	each(t, func(t *testing.T, s sdk) {
		name, signers := s.signerOf(t)
		ep.Signers = append(ep.Signers, name)
		for name, sign := range signers {
			all[name] = func(r *webhook.Request, e webhook.Event) error {
				own := *r
				own.Secrets = []webhook.Secret{{Value: s.secrets[0]}}
				return sign(&own, e)
			}
		}
	})
	refused, tampered := map[string]error{}, map[string]error{}
	dispatch(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for _, s := range sdks {
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			refused[s.name] = s.check(r, s.secrets[0])
			r.Body = io.NopCloser(strings.NewReader(string(body) + " "))
			tampered[s.name] = s.check(r, s.secrets[0])
		}
	}), webhook.Event{ID: stripe.id, Type: "ping", Body: []byte(stripe.body)}, ep, all)
	require.Len(t, refused, len(sdks))
	for name, err := range refused {
		require.NoError(t, err, name)
		require.Error(t, tampered[name], name)
	}
}

// Where the header has room for two signatures, the receiver may know either
// secret.
func TestDispatcher_Rotation(t *testing.T) {
	tried := 0
	each(t, func(t *testing.T, s sdk) {
		if s.separator == "" {
			return
		}
		tried++
		m := s.sent(t, s.body, s.secrets[0], s.secrets[1])
		for _, secret := range s.secrets[:2] {
			require.Equal(t, http.StatusOK, s.sendToSDK(t, m, secret).status)
			require.Equal(t, http.StatusOK, s.sendToPreset(t, m, secret).status)
		}
		require.Equal(t, http.StatusUnauthorized, s.sendToSDK(t, m, s.secrets[2]).status)
		require.Equal(t, http.StatusUnauthorized, s.sendToPreset(t, m, s.secrets[2]).status)
	})
	require.Equal(t, 3, tried)
}

// What was changed on the way the SDKs refuse, and the presets.
func TestDispatcher_Tampered(t *testing.T) {
	genuine := map[string]message{}
	each(t, func(t *testing.T, s sdk) { genuine[s.name] = s.sent(t, s.body, s.secrets[0]) })
	sign := func(t *testing.T, s sdk, body string, _ time.Time, secrets ...string) message {
		t.Helper()
		if secrets[0] != s.secrets[0] {
			return s.sent(t, body, secrets...)
		}
		m := genuine[s.name]
		return message{maps.Clone(m.header), m.body}
	}
	each(t, func(t *testing.T, s sdk) {
		m := sign(t, s, s.body, time.Now(), s.secrets[0])
		require.Equal(t, http.StatusOK, s.sendToSDK(t, m, s.secrets[0]).status)
		require.Equal(t, http.StatusOK, s.sendToPreset(t, m, s.secrets[0]).status)
	})
	for _, test := range tamperings {
		if slices.Contains([]string{"signed too long ago", "signed in the future"}, test.name) {
			continue // a Dispatcher signs now
		}
		t.Run(test.name, func(t *testing.T) {
			tried := 0
			each(t, func(t *testing.T, s sdk) {
				m, ok := test.make(t, s, sign)
				if !ok {
					return
				}
				tried++
				require.Equal(t, http.StatusUnauthorized, s.sendToSDK(t, m, s.secrets[0]).status)
				require.Equal(t, http.StatusUnauthorized, s.sendToPreset(t, m, s.secrets[0]).status)
			})
			require.GreaterOrEqual(t, tried, 2, "there is nothing that this means")
		})
	}
}
