package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
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
)

// What a host brings along: its table, its transports, its hand on the queue.

// roundTripper is a transport of the host's.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A transport of the host's that goes wrong is a failed attempt, and takes neither
// the process nor a slot with it.
func TestUnguarded_GoesWrong(t *testing.T) {
	body := func(r io.Reader) *http.Response {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(r)}
	}
	for name, c := range map[string]struct {
		rt    roundTripper
		class string
	}{
		"panics":          {func(*http.Request) (*http.Response, error) { panic("hunter2") }, "panic"},
		"leaves":          {func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, "goexit"},
		"answers nothing": {func(*http.Request) (*http.Response, error) { return nil, nil }, "protocol"},
		"quotes a secret": {func(*http.Request) (*http.Response, error) { return nil, errors.New("hunter2") }, "protocol"},
		"a body that panics": {func(*http.Request) (*http.Response, error) {
			return body(readerFunc(func([]byte) (int, error) { panic("hunter2") })), nil
		}, "panic"},
		"a body that fails": {func(*http.Request) (*http.Response, error) {
			return body(readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF })), nil
		}, "reset"},
		"a status of nothing": {func(*http.Request) (*http.Response, error) { return &http.Response{Body: http.NoBody}, nil }, "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mended atomic.Bool
				o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 1, Unguarded: func(webhook.Endpoint) http.RoundTripper {
					if mended.Load() {
						return roundTripper(func(*http.Request) (*http.Response, error) { return body(http.NoBody), nil })
					}
					return c.rt
				}}, webhook.Endpoint{ID: "a"})
				o.run()
				o.send(webhook.Event{ID: "1"})
				synctest.Wait()
				d := o.only()
				require.Equal(t, store.Queued, d.State)
				require.Equal(t, 1, d.Spent)
				require.Equal(t, c.class, d.Attempts[0].Class, d.Attempts[0].Err)
				require.NotContains(t, d.Attempts[0].Err, "hunter2")
				require.NotContains(t, o.logs.String(), "hunter2")
				mended.Store(true)
				pass(10 * time.Second)
				require.Equal(t, store.Processed, o.only().State)
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A receiver that wants a certificate of the client's is called through a transport
// that has one; the others go on being guarded.
func TestUnguarded_MutualTLS(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{} // requests by path, of clients with a certificate
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Path] += len(r.TLS.PeerCertificates)
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	partner := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: srv.TLS.Certificates, MinVersion: tls.VersionTLS12}}
	defer partner.CloseIdleConnections()

	o := newOutbox(t, webhook.DispatcherConfig{
		Guard: webhook.Guard{Development: true},
		Unguarded: func(ep webhook.Endpoint) http.RoundTripper {
			if ep.ID == "partner" {
				return partner
			}
			return nil
		},
	}, webhook.Endpoint{ID: "partner", URL: srv.URL + "/partner"}, webhook.Endpoint{ID: "other", URL: srv.URL + "/other"})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- o.out.Run(ctx) }()
	o.send(webhook.Event{ID: "1"})
	by := map[string]store.Delivery{}
	require.Eventually(t, func() bool {
		for _, d := range o.deliveries() {
			by[d.Destination] = d
		}
		return by["partner"].State == store.Processed && len(by["other"].Attempts) == 1
	}, 10*time.Second, time.Millisecond)
	stop()
	require.NoError(t, <-ran)
	require.Equal(t, "tls", by["other"].Attempts[0].Class)
	require.Equal(t, map[string]int{"/partner": 1}, seen)
}

// An endpoint is asked for at each attempt: what has become of it meanwhile counts.
func TestEndpoint_ChangesBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := signature.NewSecret(), signature.NewSecret()
		var row atomic.Pointer[webhook.Endpoint] // nil: deleted
		row.Store(&webhook.Endpoint{ID: "a", URL: "https://before.example/", Secrets: []webhook.Secret{{Value: old, Until: time.Now().Add(time.Second)}}})
		o := newOutbox(t, webhook.DispatcherConfig{
			Queue: webhook.QueueConfig{Retry: fixed(9, time.Minute)},
			Endpoints: webhook.EndpointFunc(func(context.Context, string) (webhook.Endpoint, error) {
				if ep := row.Load(); ep != nil {
					return *ep, nil
				}
				return webhook.Endpoint{}, webhook.ErrNotFound
			}),
		})
		o.net.answer = always(http.StatusInternalServerError)
		o.run()
		o.send(webhook.Event{ID: "1", To: []string{"a"}})
		pass(90 * time.Second) // the second attempt has no secret that is valid
		require.Len(t, o.net.posts(), 1)
		require.Contains(t, o.only().Attempts[1].Err, "no secret that is valid now")

		row.Store(&webhook.Endpoint{ID: "a", URL: "https://after.example/", Secrets: []webhook.Secret{{Value: fresh}}})
		pass(time.Minute)
		posts := o.net.posts()
		require.Len(t, posts, 2)
		require.Equal(t, "https://after.example/", posts[1].url)
		for k, secret := range []string{old, fresh} {
			_, err := webhook.Must(provider.StandardWebhooks(secret)).Verify(t.Context(),
				&webhook.Request{Method: posts[k].method, Header: posts[k].header, Body: []byte(posts[k].body), Time: posts[k].at})
			require.NoError(t, err)
		}
		row.Store(nil)
		pass(time.Minute)
		require.Equal(t, store.Discarded, o.only().State)
		require.Equal(t, "endpoint deleted", o.only().Reason)
		pass(time.Hour)
		require.Len(t, o.net.posts(), 2, "a deleted endpoint was called")
	})
}

// A test event goes to the one endpoint that is named, though it wants other types.
func TestSend_TestEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a", Types: []string{"invoice.*"}}, webhook.Endpoint{ID: "b"})
		o.run()
		sent := o.send(webhook.Event{Type: "webhook.test", To: []string{"a"}})
		synctest.Wait()
		require.Equal(t, 1, sent[0].Deliveries)
		require.Len(t, o.net.posts(), 1)
		require.Equal(t, "https://a.example/hooks", o.net.posts()[0].url)
		require.Equal(t, store.Processed, o.only().State)
	})
}

// An event for a thousand endpoints reaches each of them once.
func TestSend_ToAThousandEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 1000
		var list []webhook.Endpoint
		for i := range many {
			list = append(list, webhook.Endpoint{ID: fmt.Sprint("ep-", i)})
		}
		o := newOutbox(t, webhook.DispatcherConfig{}, list...)
		o.net.answer = func(n int, _ *http.Request) reply {
			time.Sleep(time.Second)
			return status(http.StatusOK)
		}
		o.run()
		require.Equal(t, many, o.send(webhook.Event{ID: "1", Body: make([]byte, 1<<16)})[0].Deliveries)
		pass(time.Minute)
		seen := map[string]bool{}
		for _, p := range o.net.posts() {
			seen[p.url] = true
		}
		require.Len(t, seen, many)
		require.Len(t, o.net.posts(), many)
	})
}

// Those that died since a time are redriven at a rate: so many at once, and the rest
// when the person on call goes on.
func TestRedrive_SinceATimeAtARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 128, Queue: webhook.QueueConfig{Retry: fixed(1, time.Second)}},
			webhook.Endpoint{ID: "a"}, webhook.Endpoint{ID: "b"})
		o.net.answer = always(http.StatusInternalServerError)
		o.run()
		send := func(from, to int) {
			for i := from; i < to; i++ {
				o.send(webhook.Event{ID: fmt.Sprint(i)})
			}
			pass(time.Minute)
		}
		send(0, 50)
		since := time.Now()
		send(50, 300)
		require.Len(t, o.net.posts(), 600)

		o.net.answer = nil
		dead := store.Filter{Destination: "a", Since: since}
		for after, second := "", 0; ; second++ {
			n, next, err := o.out.Queue().Redrive(t.Context(), dead, after, 100)
			require.NoError(t, err)
			require.LessOrEqual(t, n, 100)
			synctest.Wait()
			require.Len(t, o.net.posts(), 600+min(100*(second+1), 250))
			if after = next; next == "" {
				break
			}
			pass(time.Second)
		}
		states := map[string]int{}
		for _, d := range o.deliveries() {
			states[d.Destination+" "+string(d.State)]++
		}
		require.Equal(t, map[string]int{"a dead": 50, "a processed": 250, "b dead": 300}, states)
	})
}

// Of an answer the beginning is kept with the attempt that failed, or nothing.
func TestAttempt_KeepBody(t *testing.T) {
	for keep, want := range map[int]int{0: 4096, 10: 10, -1: 0, 1 << 20: 64 << 10} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox(t, webhook.DispatcherConfig{KeepBody: keep, Unguarded: func(webhook.Endpoint) http.RoundTripper {
					return roundTripper(func(*http.Request) (*http.Response, error) {
						return &http.Response{StatusCode: http.StatusInternalServerError, Body: io.NopCloser(bytes.NewReader(make([]byte, 100<<10)))}, nil
					})
				}}, webhook.Endpoint{ID: "a"})
				o.run()
				o.send(webhook.Event{ID: "1"})
				synctest.Wait()
				require.Len(t, o.only().Attempts[0].Response, want)
			})
		})
	}
}

// What an attempt was like is stored with it: for the person on call.
func TestAttempt_IsRecordedWhole(t *testing.T) {
	const wait = 20 * time.Millisecond
	before := time.Now()
	_, a := realAttempt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(wait)
		http.Error(w, "the ledger is down", http.StatusInternalServerError)
	}))
	require.WithinRange(t, a.Start, before.Add(-time.Millisecond), time.Now())
	require.GreaterOrEqual(t, a.FirstByte, wait)
	require.GreaterOrEqual(t, a.Duration, a.FirstByte)
	require.Positive(t, a.Connect)
	require.Zero(t, a.TLS)
	require.Equal(t, uint64(1), a.Token)
	require.Equal(t, store.OutcomeFailed, a.Outcome)
	require.Equal(t, "http_5xx", a.Class)
	require.Equal(t, http.StatusInternalServerError, a.Status)
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, a.Address)
	require.Equal(t, "the ledger is down\n", string(a.Response))
	require.Equal(t, "webhook: the answer is 500 Internal Server Error", a.Err)
}

// What waits for an endpoint that is held and then deleted is discarded too, though
// nobody attempts it; a table that fails or panics says nothing of its being deleted.
func TestEndpoint_DeletedWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secrets := []webhook.Secret{{Value: signature.NewSecret()}}
		var deleted atomic.Bool
		o := newOutbox(t, webhook.DispatcherConfig{Queue: patient, Endpoints: webhook.EndpointFunc(func(_ context.Context, id string) (webhook.Endpoint, error) {
			switch {
			case !deleted.Load(), id == "stays":
				return webhook.Endpoint{ID: id, URL: "https://customer.example/" + url.PathEscape(id), Secrets: secrets}, nil
			case id == "panics":
				panic("hunter2")
			case id == "fails":
				return webhook.Endpoint{}, errors.New("database is down")
			case id == "fails badly":
				return webhook.Endpoint{}, (*wrappingError)(nil)
			}
			return webhook.Endpoint{}, fmt.Errorf("endpoint %s: %w", id, webhook.ErrNotFound)
		})})
		o.net.answer = always(http.StatusGone)
		stop := o.run()
		all := []string{"panics", "fails", "fails badly", "gone", "stays"}
		o.send(webhook.Event{ID: "first", To: all}) // each answers 410
		synctest.Wait()
		for i := range 250 {
			o.send(webhook.Event{ID: fmt.Sprint(i), To: all})
		}
		pass(2 * time.Hour)
		waiting := func(id string, state store.State) int {
			n, err := o.out.Queue().Count(t.Context(), store.Filter{Destination: id, States: []store.State{state}}, 1000)
			require.NoError(t, err)
			return n
		}
		require.Equal(t, 250, waiting("gone", store.Queued), "it is there")
		deleted.Store(true)
		pass(time.Hour + time.Minute)
		require.Equal(t, 250, waiting("gone", store.Discarded))
		for _, id := range []string{"panics", "fails", "fails badly", "stays"} {
			require.Equal(t, 250, waiting(id, store.Queued), id)
		}
		require.Equal(t, 1, waiting("gone", store.Dead), "a dead letter is a person's")
		for d, err := range o.out.Queue().Find(t.Context(), store.Filter{States: []store.State{store.Discarded}}) {
			require.NoError(t, err)
			require.Equal(t, "endpoint deleted", d.Reason)
		}
		require.Len(t, o.net.posts(), 5)
		require.NoError(t, stop())
	})
}

// Run does not wait for a table that hangs while nothing is attempted.
func TestEndpoint_HangsWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		release := make(chan struct{})
		o := newOutbox(t, webhook.DispatcherConfig{Queue: patient, Endpoints: webhook.EndpointFunc(func(_ context.Context, id string) (webhook.Endpoint, error) {
			if hangs.Load() {
				<-release // whatever becomes of the context
			}
			return webhook.Endpoint{}, webhook.ErrNotFound
		})})
		stop := o.run()
		require.NoError(t, o.out.Queue().Pause(t.Context(), "a", "maintenance"))
		o.send(webhook.Event{ID: "1", To: []string{"a"}})
		hangs.Store(true)
		pass(time.Hour + time.Minute)
		begin := time.Now()
		require.NoError(t, stop())
		require.LessOrEqual(t, time.Since(begin), 2*time.Second)
		close(release)
		synctest.Wait()
		require.Equal(t, store.Queued, o.only().State, "by a Run that has ended")
	})
}
