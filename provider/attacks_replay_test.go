package provider_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// receiver is a program that has one inbox, and routes by source.
type receiver struct {
	t       *testing.T
	commits int
	inbox   *webhook.Inbox
	logs    logbook
}

// counted is a store that counts its commits.
type counted struct {
	store.Store
	n *int
}

func (c counted) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	*c.n++
	return c.Store.Commit(ctx, b)
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	return newReceiverWith(t, webhook.QueueConfig{})
}

func newReceiverWith(t *testing.T, c webhook.QueueConfig) *receiver {
	t.Helper()
	rc := &receiver{t: t}
	c.Telemetry = webhook.Telemetry{Logger: rc.logger()}
	var err error
	rc.inbox, err = webhook.NewInbox(counted{memory.New(), &rc.commits}, webhook.InboxConfig{Queue: c})
	require.NoError(t, err)
	rc.inbox.Handle("handler", func(context.Context, webhook.Event) error { return nil })
	return rc
}

// run runs the inbox until what it returns is called.
func (rc *receiver) run() (end func()) {
	ctx, cancel := context.WithCancel(rc.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- rc.inbox.Run(ctx) }()
	return func() {
		rc.t.Helper()
		cancel()
		require.NoError(rc.t, <-ended)
	}
}

func (rc *receiver) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(&rc.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// send sends r to the route of source, and returns the status.
func (rc *receiver) send(source string, v webhook.Verifier, r *webhook.Request) int {
	rc.t.Helper()
	v.Telemetry.Logger = rc.logger()
	sent := httptest.NewRequestWithContext(rc.t.Context(), http.MethodPost, "/hook", bytes.NewReader(r.Body))
	sent.Header = r.Header
	w := httptest.NewRecorder()
	webhook.Verify(source, v)(rc.inbox.Receive("handler")).ServeHTTP(w, sent)
	return w.Code
}

// stored returns all that the handler is to get.
func (rc *receiver) stored() []store.Delivery {
	rc.t.Helper()
	var all []store.Delivery
	for d, err := range rc.inbox.Queue().Find(rc.t.Context(), store.Filter{}) {
		require.NoError(rc.t, err)
		all = append(all, d)
	}
	return all
}

// What comes after a genuine request of evt_1, and how many events there are then.
func TestPresets_Replay(t *testing.T) {
	unsigned := func(s sender) bool { return !s.idSigned }
	for _, test := range []struct {
		name   string
		only   func(s sender) bool
		again  func(s sender) *webhook.Request
		status int
		events int
	}{
		{"the whole request", nil, func(s sender) *webhook.Request {
			return s.at(time.Now(), 0, "evt_1", "evt_1")
		}, 200, 1},
		{"a retry that is signed anew", nil, func(s sender) *webhook.Request {
			time.Sleep(4 * time.Minute)
			return s.at(time.Now(), 0, "evt_1", "evt_1")
		}, 200, 1},
		{"a retry that is signed with the new secret", nil, func(s sender) *webhook.Request {
			return s.at(time.Now(), 1, "evt_1", "evt_1")
		}, 200, 1},
		{"the whole request, after the tolerance", sender.isTimed, func(s sender) *webhook.Request {
			r := s.at(time.Now(), 0, "evt_1", "evt_1")
			time.Sleep(6 * time.Minute)
			return r
		}, 401, 1},
		{"the whole request, a day later", unsigned, func(s sender) *webhook.Request {
			time.Sleep(24 * time.Hour)
			return s.at(time.Now(), 0, "evt_1", "evt_1")
		}, 200, 1},
		{"under another id", func(s sender) bool { return s.idHeader != "" && s.idSigned }, func(s sender) *webhook.Request {
			r := s.at(time.Now(), 0, "evt_1", "evt_1")
			r.Header.Set(s.idHeader, "evt_2")
			return r
		}, 401, 1},
		{"under another id that nobody signed", unsigned, func(s sender) *webhook.Request {
			return s.at(time.Now(), 0, "evt_2", "evt_1")
		}, 200, 1},
		{"under no id", unsigned, func(s sender) *webhook.Request {
			r := s.at(time.Now(), 0, "evt_1", "evt_1")
			r.Header.Del(s.idHeader)
			return r
		}, 200, 1},
		{"as another type that nobody signed", func(s sender) bool { return s.typeHeader != "" }, func(s sender) *webhook.Request {
			r := s.at(time.Now(), 0, "evt_2", "evt_1")
			r.Header.Set(s.typeHeader, "app/uninstalled")
			return r
		}, 200, 1},
		{"the same id, another body", nil, func(s sender) *webhook.Request {
			return s.withBody(time.Now(), "evt_1", s.body("evt_1")+" ")
		}, 200, 1},
		{"the next event", nil, func(s sender) *webhook.Request {
			return s.at(time.Now(), 0, "evt_2", "evt_2")
		}, 200, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, test.only, func(t *testing.T, s sender) {
				synctest.Test(t, func(t *testing.T) {
					rc := newReceiver(t)
					v := s.verifier(t, s.secrets[0], s.secrets[1])
					require.Equal(t, http.StatusOK, rc.send(s.preset, v, s.at(time.Now(), 0, "evt_1", "evt_1")))
					require.Equal(t, test.status, rc.send(s.preset, v, test.again(s)))
					ds := rc.stored()
					require.Len(t, ds, test.events)
					require.Equal(t, "evt_1", ds[0].Record.ID)
					d, err := rc.inbox.Queue().Get(t.Context(), ds[0].ID)
					require.NoError(t, err)
					require.Equal(t, s.body("evt_1"), string(d.Record.Body), "the first one stays")
				})
			})
		})
	}
}

// at is a request at that time, with the secret of that number.
func (s sender) at(t time.Time, secret int, id, bodyOf string) *webhook.Request {
	return s.request(s.secrets[secret], id, unix(t), s.body(bodyOf))
}

// withBody is a request with the first secret and any body.
func (s sender) withBody(t time.Time, id, body string) *webhook.Request {
	return s.request(s.secrets[0], id, unix(t), body)
}

// A known id with another body is a conflict, and somebody hears of it.
func TestPresets_ConflictIsLogged(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		synctest.Test(t, func(t *testing.T) {
			rc := newReceiver(t)
			v := s.verifier(t, s.secrets[0])
			require.Equal(t, http.StatusOK, rc.send(s.preset, v, s.at(time.Now(), 0, "evt_1", "evt_1")))
			require.NotContains(t, rc.logs.String(), "another body")
			require.Equal(t, http.StatusOK, rc.send(s.preset, v, s.withBody(time.Now(), "evt_1", s.body("evt_1")+" ")))
			require.Contains(t, rc.logs.String(), "known with another body")
		})
	})
}

// Two senders may have the same ids, and neither can make its own look like the
// other's.
func TestPresets_SourcesAndTenantsAreApart(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		synctest.Test(t, func(t *testing.T) {
			rc := newReceiver(t)
			v := s.verifier(t)
			v.Secrets = fixed(
				webhook.Secret{Value: s.secrets[0], Tenant: "a"},
				webhook.Secret{Value: s.secrets[1], Tenant: "b"})
			for i, request := range []struct {
				source, id string
				secret     int
			}{
				{"shop", "evt_1", 0},
				{"shop", "evt_1", 1},
				{"shop-eu", "evt_1", 0},
				{"shop", "eu:1", 0},
				{"shop:eu", "1", 0},
				{"shop\x00eu", "1", 0},
				{"shop", "b|evt_1", 0},
			} {
				require.Equal(t, http.StatusOK, rc.send(request.source, v, s.at(time.Now(), request.secret, request.id, request.id)))
				require.Len(t, rc.stored(), i+1, "%q", request)
			}
		})
	})
}

// Of a request that is refused, the store hears nothing.
func TestPresets_ForgeriesCostNoStore(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		synctest.Test(t, func(t *testing.T) {
			rc := newReceiver(t)
			v := s.verifier(t, s.secrets[0])
			for range 100 {
				require.Equal(t, http.StatusUnauthorized, rc.send(s.preset, v, s.at(time.Now(), 1, "evt_1", "evt_1")))
			}
			require.Zero(t, rc.commits)
			require.Equal(t, http.StatusOK, rc.send(s.preset, v, s.at(time.Now(), 0, "evt_1", "evt_1")))
			require.Equal(t, 1, rc.commits)
		})
	})
}

// The documented way out where equal bodies are different events.
func TestShopify_EqualBodies(t *testing.T) {
	s := named("shopify")
	for _, test := range []struct {
		name     string
		source   string
		noDigest bool
		events   int
	}{
		{"of one source", "shop", false, 1},
		{"of a source each", "shop-paid", false, 2},
		{"without the digest", "shop", true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rc := newReceiver(t)
				v := s.verifier(t, s.secrets[0])
				v.NoDigest = test.noDigest
				require.Equal(t, http.StatusOK, rc.send("shop", v, s.at(time.Now(), 0, "delivery_1", "order")))
				paid := s.at(time.Now(), 0, "delivery_2", "order")
				paid.Header.Set("X-Shopify-Topic", "orders/paid")
				require.Equal(t, http.StatusOK, rc.send(test.source, v, paid))
				require.Len(t, rc.stored(), test.events)
			})
		})
	}
}

// logbook is a buffer that timers may write to while a test reads.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
