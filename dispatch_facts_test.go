package webhook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// The mistakes of senders that are there, which this one must not make.

// What is signed and posted are the bytes that were given, at the first attempt and
// as they are read back from the store.
func TestSender_BodyIsNotEncodedAgain(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write([]byte("{}"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for name, body := range map[string][]byte{
		"none":            nil,
		"spaces":          []byte(" {\"a\" : 1.0,\t\"a\":2}\r\n"),
		"large number":    []byte(`{"n":12345678901234567890.10}`),
		"HTML and é":      []byte("{\"s\":\"<&>\\u003c\u2028é\"}"),
		"a NUL":           []byte("\x00"),
		"not UTF-8":       []byte("\xff\xfe"),
		"BOM":             []byte("\xef\xbb\xbf{}"),
		"gzip":            zipped.Bytes(),
		"larger than 1 M": bytes.Repeat([]byte("x"), 1<<20+1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				secret := signature.NewSecret()
				o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a", Secrets: []webhook.Secret{{Value: secret}}})
				o.net.answer = first(1, http.StatusInternalServerError)
				o.run()
				o.send(webhook.Event{ID: "1", Body: body})
				pass(time.Minute)
				posts := o.net.posts()
				require.Len(t, posts, 2)
				verifier := webhook.Must(provider.StandardWebhooks(secret))
				verifier.BodyLimit = 2 << 20
				for _, p := range posts {
					require.Equal(t, string(body), p.body)
					_, err := verifier.Verify(t.Context(), &webhook.Request{Method: p.method, Header: p.header, Body: []byte(p.body), Time: p.at})
					require.NoError(t, err)
				}
			})
		})
	}
}

// A call that takes longer than the lease is not made a second time meanwhile.
func TestSender_SlowCallIsNotMadeTwice(t *testing.T) {
	for name, born := range map[string]bool{"born with the send": true, "claimed": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox(t, webhook.DispatcherConfig{Queue: webhook.QueueConfig{Lease: time.Second}}, webhook.Endpoint{ID: "a"})
				o.net.answer = func(int, *http.Request) reply {
					time.Sleep(14 * time.Second)
					return status(http.StatusOK)
				}
				if born {
					o.run()
				}
				o.send(webhook.Event{ID: "1"})
				if !born {
					o.run()
				}
				pass(time.Minute)
				require.Len(t, o.net.posts(), 1)
				d := o.only()
				require.Equal(t, store.Processed, d.State)
				require.Equal(t, uint64(1), d.Token)
				require.Zero(t, d.Lost)
			})
		})
	}
}

// What cannot be settled is settled later, and not posted again.
func TestSender_SettleFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty, posts := &faultyStore{Store: memory.New()}, &network{}
		out, err := webhook.NewDispatcher(faulty, webhook.DispatcherConfig{
			Endpoints: webhook.EndpointList{{ID: "a", URL: "https://a.example", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}},
			Unguarded: func(webhook.Endpoint) http.RoundTripper { return posts },
		})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- out.Run(ctx) }()
		synctest.Wait()
		faulty.onCommit(failingCommit(errDown, hasSettles))
		_, err = out.Send(t.Context(), webhook.Event{ID: "1"})
		require.NoError(t, err)
		pass(5 * time.Minute)
		state := func() store.State {
			for d, err := range out.Queue().Find(t.Context(), store.Filter{}) {
				require.NoError(t, err)
				return d.State
			}
			return ""
		}
		require.Equal(t, store.Processing, state())
		faulty.onCommit(nil)
		pass(time.Minute)
		require.Equal(t, store.Processed, state())
		require.Len(t, posts.posts(), 1)
		stop()
		require.NoError(t, <-ran)
	})
}

// What waits in either way is found again: a retry that is not due yet, and one
// whose worker vanished.
func TestSender_NothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "waits"}, webhook.Endpoint{ID: "vanished"})
		o.net.answer = first(1, http.StatusInternalServerError)
		stop := o.run()
		o.send(webhook.Event{ID: "1", To: []string{"waits"}})
		synctest.Wait()
		require.NoError(t, stop())
		o.send(webhook.Event{ID: "2", To: []string{"vanished"}})
		taken, err := o.mem.Claim(t.Context(), "outbox", store.Claim{Free: map[string]int{"vanished": 1}, Max: 1, Bytes: 1 << 20, Lease: time.Minute})
		require.NoError(t, err)
		require.Len(t, taken, 1)

		next, err := webhook.NewDispatcher(o.mem, webhook.DispatcherConfig{
			Endpoints: webhook.EndpointFunc(func(_ context.Context, id string) (webhook.Endpoint, error) {
				return webhook.Endpoint{ID: id, URL: "https://" + id + ".example", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}, nil
			}),
			Unguarded: func(webhook.Endpoint) http.RoundTripper { return o.net },
		})
		require.NoError(t, err)
		o.out = next
		o.run()
		pass(time.Hour)
		for _, d := range o.deliveries() {
			require.Equal(t, store.Processed, d.State, d.Destination)
		}
		require.Len(t, o.net.posts(), 3)
	})
}

// A held endpoint's deliveries lie still: nobody claims them, only to put them back.
func TestSender_HeldDeliveriesLieStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{Queue: patient}, webhook.Endpoint{ID: "a"})
		o.net.answer = first(1, http.StatusTooManyRequests, "Retry-After", "3600")
		o.run()
		o.send(webhook.Event{ID: "first"})
		synctest.Wait()
		for i := range 100 {
			o.send(webhook.Event{ID: fmt.Sprint(i)})
		}
		pass(59 * time.Minute)
		require.Len(t, o.net.posts(), 1)
		for _, d := range o.deliveries()[1:] {
			require.Zero(t, d.Token, "it was taken in hand")
		}
		pass(2 * time.Minute)
		require.Len(t, o.net.posts(), 102)
	})
}

// What an endpoint asked for holds after a restart.
func TestSender_HoldsOutliveTheProcess(t *testing.T) {
	for code, header := range map[int][]string{http.StatusServiceUnavailable: {"Retry-After", "3600"}, http.StatusGone: nil} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				endpoint := webhook.Endpoint{ID: "a"}
				o := newOutbox(t, webhook.DispatcherConfig{Queue: patient}, endpoint)
				o.net.answer = first(1, code, header...)
				stop := o.run()
				o.send(webhook.Event{ID: "1"})
				synctest.Wait()
				require.NoError(t, stop())

				again := newOutbox(t, webhook.DispatcherConfig{Queue: patient}, endpoint)
				next, err := webhook.NewDispatcher(o.mem, webhook.DispatcherConfig{
					Queue:     patient,
					Endpoints: webhook.EndpointList{{ID: "a", URL: "https://a.example", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}},
					Unguarded: func(webhook.Endpoint) http.RoundTripper { return again.net },
				})
				require.NoError(t, err)
				again.out = next
				again.run()
				again.send(webhook.Event{ID: "2"})
				pass(59 * time.Minute)
				require.Empty(t, again.net.posts())
				pass(2 * time.Minute)
				if code == http.StatusGone {
					require.Empty(t, again.net.posts(), "until somebody resumes it")
				} else {
					require.Len(t, again.net.posts(), 2)
				}
			})
		})
	}
}

// A redrive takes all, page by page, and gives each its full budget; what was
// processed can be sent again.
func TestSender_Redrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dead, budget = 350, 3
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 128, Queue: webhook.QueueConfig{
			Retry: fixed(budget, time.Second),
		}}, webhook.Endpoint{ID: "a"})
		o.net.answer = always(http.StatusInternalServerError)
		o.run()
		for i := range dead {
			o.send(webhook.Event{ID: fmt.Sprint(i)})
		}
		pass(time.Minute)
		require.Len(t, o.net.posts(), dead*budget)
		redrive := func(f store.Filter) (total int) {
			for next, more := "", true; more; more = next != "" {
				var n int
				var err error
				n, next, err = o.out.Queue().Redrive(t.Context(), f, next, 100)
				require.NoError(t, err)
				total += n
			}
			return total
		}
		require.Equal(t, dead, redrive(store.Filter{}))
		pass(time.Minute)
		require.Len(t, o.net.posts(), 2*dead*budget, "a full budget each")
		o.net.answer = nil
		require.Equal(t, dead, redrive(store.Filter{}))
		pass(time.Minute)
		require.Equal(t, 1, redrive(store.Filter{EventID: "7", States: []store.State{store.Processed}}))
		pass(time.Minute)
		posts := o.net.posts()
		require.Len(t, posts, 2*dead*budget+dead+1)
		require.Equal(t, "7", posts[len(posts)-1].header.Get("Webhook-Id"))
	})
}

// realAttempt runs a dispatcher with its own client against a server, and returns its one
// delivery's first attempt.
func realAttempt(t *testing.T, h http.Handler) (store.Delivery, store.Attempt) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	out := realOutbox(t, srv.URL)
	_, err := out.Send(t.Context(), webhook.Event{ID: "1", Body: []byte("{}")})
	require.NoError(t, err)
	var d store.Delivery
	require.Eventually(t, func() bool {
		for found, err := range out.Queue().Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			d, err = out.Queue().Get(t.Context(), found.ID)
			require.NoError(t, err)
		}
		return len(d.Attempts) > 0
	}, 30*time.Second, time.Millisecond)
	return d, d.Attempts[0]
}

// realOutbox sends to an endpoint at url until the test ends.
func realOutbox(t *testing.T, url string) *webhook.Dispatcher {
	t.Helper()
	out, err := webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
		Endpoints: webhook.EndpointList{{ID: "a", URL: url, Timeout: 500 * time.Millisecond, Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}},
		Guard:     webhook.Guard{Development: true},
		Queue:     webhook.QueueConfig{Telemetry: webhook.Telemetry{Logger: (&logbook{}).logger()}},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- out.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ran)
	})
	return out
}

// What looks like a success to a careless sender is none.
func TestSender_NoSuccess(t *testing.T) {
	var loggedIn atomic.Int32
	login := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { loggedIn.Add(1) }))
	defer login.Close()
	for name, c := range map[string]struct {
		class  string
		answer http.HandlerFunc
	}{
		"a redirect to a login page": {"http_3xx", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, login.URL+"/login", http.StatusFound)
		}},
		"not modified": {"http_3xx", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }},
		"a body that never comes": {"timeout", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
		"a body that is cut": {"reset", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = w.Write([]byte("ok"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d, a := realAttempt(t, c.answer)
			require.Equal(t, store.Queued, d.State)
			require.Equal(t, 1, d.Spent)
			require.Equal(t, store.OutcomeFailed, a.Outcome)
			require.Equal(t, c.class, a.Class, a.Err)
		})
	}
	require.Zero(t, loggedIn.Load(), "a redirect was followed")
}

// One client serves all attempts: those to an endpoint share its connections.
func TestSender_ConnectionsAreKept(t *testing.T) {
	const events = 20
	var mu sync.Mutex
	conns, calls := map[string]bool{}, 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls++
	}))
	srv.Config.ConnState = func(c net.Conn, _ http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		conns[c.RemoteAddr().String()] = true
	}
	srv.Start()
	defer srv.Close()
	out := realOutbox(t, srv.URL)
	for i := range events {
		_, err := out.Send(t.Context(), webhook.Event{ID: fmt.Sprint(i)})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			n, err := out.Queue().Count(t.Context(), store.Filter{States: []store.State{store.Processed}}, events)
			return err == nil && n == i+1
		}, 30*time.Second, time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, events, calls)
	require.Len(t, conns, 1)
}
