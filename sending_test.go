package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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

// patient is for tests in which days go by: each poll of them takes time.
var patient = webhook.QueueConfig{Poll: 30 * time.Second}

// What each answer makes of a delivery, and of its endpoint.
func TestAttempt_Answers(t *testing.T) {
	type want struct {
		state   store.State
		class   string
		held    store.HoldKind
		outcome string
		spent   int
	}
	for name, c := range map[string]struct {
		answer func(int, *http.Request) reply
		want   want
	}{
		"200":                {always(200), want{state: store.Processed, outcome: "processed"}},
		"204":                {always(204), want{state: store.Processed, outcome: "processed"}},
		"299":                {always(299), want{state: store.Processed, outcome: "processed"}},
		"300":                {always(300), want{store.Queued, "http_3xx", "", "failed", 1}},
		"301":                {always(301, "Location", "https://login.example/?token=hunter2"), want{store.Queued, "http_3xx", "", "failed", 1}},
		"304":                {always(304), want{store.Queued, "http_3xx", "", "failed", 1}},
		"400":                {always(400), want{store.Queued, "http_4xx", "", "failed", 1}},
		"404":                {always(404), want{store.Queued, "http_4xx", "", "failed", 1}},
		"410":                {always(410), want{store.Dead, "http_4xx", store.Disabled, "failed", 1}},
		"422, permanent":     {always(422), want{store.Dead, "http_4xx", "", "failed", 1}},
		"429":                {always(429), want{store.Queued, "http_4xx", store.Slowed, "failed", 1}},
		"429, Retry-After":   {always(429, "Retry-After", "60"), want{store.Queued, "http_4xx", store.Slowed, "deferred", 0}},
		"500":                {always(500), want{store.Queued, "http_5xx", "", "failed", 1}},
		"502":                {always(502), want{store.Queued, "http_5xx", store.Slowed, "failed", 1}},
		"503":                {always(503), want{store.Queued, "http_5xx", store.Slowed, "failed", 1}},
		"503, Retry-After":   {always(503, "Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT"), want{store.Queued, "http_5xx", store.Slowed, "deferred", 0}},
		"503, bad value":     {always(503, "Retry-After", "soon"), want{store.Queued, "http_5xx", store.Slowed, "failed", 1}},
		"500, Retry-After":   {always(500, "Retry-After", "60"), want{store.Queued, "http_5xx", "", "failed", 1}},
		"504":                {always(504), want{store.Queued, "http_5xx", store.Slowed, "failed", 1}},
		"a failed transport": {func(int, *http.Request) reply { return reply{err: errors.New("egress is down")} }, want{store.Queued, "*", "", "failed", 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox(t, webhook.DispatcherConfig{Permanent: []int{422}}, webhook.Endpoint{ID: "a"})
				o.net.answer = c.answer
				o.run()
				o.send(webhook.Event{ID: "1"})
				synctest.Wait()
				d := o.only()
				require.Equal(t, c.want.state, d.State, d.Reason)
				require.Len(t, d.Attempts, 1)
				a := d.Attempts[0]
				require.Equal(t, c.want.outcome, a.Outcome)
				if c.want.class != "*" {
					require.Equal(t, c.want.class, a.Class)
				}
				require.Equal(t, c.want.spent, d.Spent)
				require.NotContains(t, a.Err, "hunter2")
				held := o.holds("a")
				if c.want.held == "" {
					require.Empty(t, held)
				} else {
					require.Len(t, held, 1)
					require.Equal(t, c.want.held, held[0].Kind)
				}
			})
		})
	}
}

// Retry-After holds the endpoint, and not this delivery alone; it spends nothing,
// and is kept within a second and a day.
func TestAttempt_RetryAfterHoldsTheEndpoint(t *testing.T) {
	for given, held := range map[string]time.Duration{"0": time.Second, "1": time.Second, "120": 2 * time.Minute, "999999": 24 * time.Hour} {
		t.Run(given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox(t, webhook.DispatcherConfig{Queue: patient}, webhook.Endpoint{ID: "a"}, webhook.Endpoint{ID: "b"})
				o.net.answer = func(n int, _ *http.Request) reply {
					if n == 0 {
						return status(http.StatusTooManyRequests, "Retry-After", given)
					}
					return status(http.StatusOK)
				}
				o.run()
				start := time.Now()
				o.send(webhook.Event{ID: "1", To: []string{"a"}})
				synctest.Wait()
				o.send(webhook.Event{ID: "2", To: []string{"a"}}, webhook.Event{ID: "3", To: []string{"b"}})
				pass(25 * time.Hour)
				posts := o.net.posts()
				require.Len(t, posts, 4)
				for _, p := range posts[1:] {
					if strings.HasPrefix(p.url, "https://b.") {
						require.Zero(t, p.at.Sub(start), "another endpoint")
					} else {
						require.GreaterOrEqual(t, p.at.Sub(start), held)
						require.Less(t, p.at.Sub(start), held+time.Minute)
					}
				}
			})
		})
	}
}

// After ten deferrals a further one counts as a failure: an endpoint cannot keep a
// delivery for ever.
func TestAttempt_DeferralsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{Queue: patient}, webhook.Endpoint{ID: "a"})
		o.net.answer = always(http.StatusServiceUnavailable, "Retry-After", "1")
		o.run()
		o.send(webhook.Event{ID: "1"})
		pass(10 * 24 * time.Hour)
		d := o.only()
		require.Equal(t, store.Dead, d.State)
		require.Len(t, o.net.posts(), 20)
		require.Equal(t, 10, d.Spent)
		require.Equal(t, 10, d.Deferred)
	})
}

// 410 disables the endpoint: its deliveries wait until somebody resumes it.
func TestAttempt_GoneDisablesTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{Queue: patient}, webhook.Endpoint{ID: "a"})
		o.net.answer = first(1, http.StatusGone)
		o.run()
		o.send(webhook.Event{ID: "1"})
		synctest.Wait()
		o.send(webhook.Event{ID: "2"})
		pass(7 * 24 * time.Hour)
		require.Len(t, o.net.posts(), 1)
		require.Equal(t, "the endpoint answered 410 Gone", o.holds("a")[0].Reason)
		require.NoError(t, o.out.Queue().Resume(t.Context(), "a"))
		pass(time.Minute)
		require.Len(t, o.net.posts(), 2)
		n, _, err := o.out.Queue().Redrive(t.Context(), store.Filter{}, "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		pass(time.Minute)
		require.Len(t, o.net.posts(), 3)
	})
}

// The schedule that the specification recommends, each delay ± 20 %.
func TestAttempt_Schedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{Queue: patient}, webhook.Endpoint{ID: "a"})
		o.net.answer = always(http.StatusInternalServerError)
		o.run()
		o.send(webhook.Event{ID: "1"})
		pass(10 * 24 * time.Hour)
		posts := o.net.posts()
		require.Len(t, posts, 10)
		const h, m = time.Hour, time.Minute
		for i, want := range []time.Duration{5 * time.Second, 5 * m, 30 * m, 2 * h, 5 * h, 10 * h, 14 * h, 20 * h, 24 * h} {
			was := posts[i+1].at.Sub(posts[i].at)
			require.InDelta(t, want.Seconds(), was.Seconds(), want.Seconds()/5+patient.Poll.Seconds(), "delay %d", i)
		}
		d := o.only()
		require.Equal(t, store.Dead, d.State)
		require.Len(t, d.Attempts, 10, "each is recorded, the last one too")
		require.Len(t, o.logs.having(t, "status", "dead"), 1)
	})
}

// Deliveries that failed together are not tried again together.
func TestAttempt_JitterIsUniform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const deliveries, buckets = 10_000, 100
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 128, Queue: webhook.QueueConfig{
			Retry: webhook.RetryPolicy{Delays: []time.Duration{time.Hour}},
		}}, webhook.Endpoint{ID: "a"})
		o.net.answer = always(http.StatusInternalServerError)
		var events []webhook.Event
		for i := range deliveries {
			events = append(events, webhook.Event{ID: fmt.Sprint(i)})
		}
		o.send(events...)
		stop := o.run()
		pass(time.Minute)
		require.NoError(t, stop())
		require.Len(t, o.net.posts(), deliveries)
		var counts [buckets]int
		failed := o.net.posts()[0].at
		for d, err := range o.out.Queue().Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			u := (d.Due.Sub(failed).Hours() - .8) / .4
			require.True(t, 0 <= u && u <= 1.01, d.Due.Sub(failed))
			counts[min(int(u*buckets), buckets-1)]++
		}
		for _, n := range counts {
			require.Less(t, n, 2*deliveries/buckets)
		}
	})
}

// An endpoint that is deleted has its deliveries discarded; one that cannot be
// found out now has them wait, and spends nothing.
func TestAttempt_EndpointsOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := []webhook.Secret{{Value: signature.NewSecret()}}
		var calls atomic.Int64
		o := newOutbox(t, webhook.DispatcherConfig{Endpoints: webhook.EndpointFunc(func(_ context.Context, id string) (webhook.Endpoint, error) {
			switch {
			case id == "deleted":
				return webhook.Endpoint{}, fmt.Errorf("endpoint %s: %w", id, webhook.ErrNotFound)
			case id == "panics":
				panic("hunter2")
			case id == "forgets": // its ID, in what it returns
				return webhook.Endpoint{URL: "https://forgets.example", Secrets: secret}, nil
			case id == "mistaken":
				return webhook.Endpoint{ID: "there", URL: "https://there.example", Secrets: secret}, nil
			case id == "broken":
				return webhook.Endpoint{ID: id, URL: "https://broken.example", Headers: http.Header{"Host": {"x"}}, Secrets: secret}, nil
			case calls.Add(1) == 1:
				return webhook.Endpoint{}, errors.New("database is down")
			}
			return webhook.Endpoint{ID: id, URL: "https://" + id + ".example", Secrets: secret}, nil
		})})
		o.run()
		o.send(webhook.Event{ID: "1", To: []string{"deleted", "panics", "forgets", "mistaken", "broken", "there"}})
		pass(time.Minute)
		by := map[string]store.Delivery{}
		for _, d := range o.deliveries() {
			by[d.Destination] = d
		}
		require.Equal(t, store.Discarded, by["deleted"].State)
		require.Equal(t, "endpoint deleted", by["deleted"].Reason)
		require.Equal(t, store.Queued, by["panics"].State)
		require.Equal(t, "panic", by["panics"].Attempts[0].Class)
		require.NotContains(t, by["panics"].Attempts[0].Err, "hunter2")
		require.Equal(t, store.Dead, by["broken"].State)
		require.Equal(t, store.Processed, by["there"].State)
		require.Zero(t, by["there"].Spent)
		require.Equal(t, "deferred", by["there"].Attempts[0].Outcome)
		require.Equal(t, store.Processed, by["forgets"].State, by["forgets"].Reason)
		require.Equal(t, store.Queued, by["mistaken"].State)
		require.Zero(t, by["mistaken"].Spent)
		require.Contains(t, by["mistaken"].Attempts[0].Err, `asked for "mistaken", was given "there"`)
		require.Len(t, o.net.posts(), 2)
	})
}

// A table that hangs has the time of an attempt: then the delivery waits, and its
// slot is free.
func TestAttempt_EndpointsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		o := newOutbox(t, webhook.DispatcherConfig{Endpoints: webhook.EndpointFunc(func(ctx context.Context, id string) (webhook.Endpoint, error) {
			if calls.Add(1) == 1 {
				<-ctx.Done()
				return webhook.Endpoint{}, ctx.Err()
			}
			return webhook.Endpoint{ID: id, URL: "https://a.example", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}, nil
		})})
		o.run()
		o.send(webhook.Event{ID: "1", To: []string{"a"}})
		pass(14 * time.Second)
		require.Equal(t, store.Processing, o.only().State)
		pass(2 * time.Second)
		require.Equal(t, store.Queued, o.only().State)
		require.Zero(t, o.only().Spent)
		pass(time.Minute)
		require.Equal(t, store.Processed, o.only().State)
	})
}

// Every valid secret signs, so that a receiver may have the old or the new one; an
// expired one does not.
func TestAttempt_RotationOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private, public := signature.NewKeyPair()
		old, fresh := signature.NewSecret(), signature.NewSecret()
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a", Secrets: []webhook.Secret{
			{Value: fresh}, {Value: old, Until: time.Now().Add(time.Hour)}, {Value: private},
		}})
		o.run()
		o.send(webhook.Event{ID: "1"})
		pass(2 * time.Hour)
		o.send(webhook.Event{ID: "2"})
		synctest.Wait()
		fits := func(secret string, p posted) bool {
			_, err := webhook.Must(provider.StandardWebhooks(secret)).Verify(t.Context(),
				&webhook.Request{Method: p.method, Header: p.header, Body: []byte(p.body), Time: p.at})
			return err == nil
		}
		posts := o.net.posts()
		require.Len(t, posts, 2)
		require.True(t, fits(fresh, posts[0]) && fits(old, posts[0]) && fits(public, posts[0]))
		require.True(t, fits(fresh, posts[1]) && fits(public, posts[1]))
		require.False(t, fits(old, posts[1]))
		require.False(t, fits(signature.NewSecret(), posts[0]))
	})
}

// Several schemes sign one request, side by side: for a migration.
func TestAttempt_SignersSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const old = "the secret before Standard Webhooks"
		github, stripe := webhook.Must(provider.GitHub(old)), webhook.Must(provider.Stripe("whsec_"+old))
		with := func(sign webhook.Signer, value string) webhook.Signer {
			return func(r *webhook.Request, e webhook.Event) error {
				own := *r
				own.Secrets = []webhook.Secret{{Value: value}}
				return sign(&own, e)
			}
		}
		secret := signature.NewSecret()
		o := newOutbox(t, webhook.DispatcherConfig{Signers: map[string]webhook.Signer{
			"github": with(github.Sign, old), "stripe": with(stripe.Sign, "whsec_"+old),
		}}, webhook.Endpoint{ID: "a", Secrets: []webhook.Secret{{Value: secret}}, Signers: []string{"standard", "github", "stripe"}})
		o.run()
		o.send(webhook.Event{ID: "1", Type: "invoice.paid", Body: []byte(`{"id":"1"}`)})
		synctest.Wait()
		p := o.net.posts()[0]
		for _, v := range []webhook.Verifier{github, stripe, webhook.Must(provider.StandardWebhooks(secret))} {
			events, err := v.Verify(t.Context(), &webhook.Request{Method: p.method, Header: p.header, Body: []byte(p.body), Time: p.at})
			require.NoError(t, err, v.Preset)
			require.Equal(t, "1", events[0].ID)
		}
	})
}

// A hung endpoint takes its own slots and no others.
func TestAttempt_HungEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "hung", Concurrency: 2}, webhook.Endpoint{ID: "slow"}, webhook.Endpoint{ID: "quick"})
		running := map[string]*gauge{"hung": {}, "slow": {}, "quick": {}}
		o.net.answer = func(_ int, r *http.Request) reply {
			id, _, _ := strings.Cut(r.URL.Host, ".")
			running[id].enter()
			defer running[id].leave()
			if id == "quick" {
				return status(200)
			}
			<-r.Context().Done()
			return reply{err: r.Context().Err()}
		}
		o.run()
		o.send(webhook.Event{ID: "first"})
		pass(20 * time.Second)
		var events []webhook.Event
		for i := range 100 {
			events = append(events, webhook.Event{ID: fmt.Sprint(i)})
		}
		o.send(events...)
		pass(time.Second)
		now, _, _ := running["hung"].seen()
		require.Equal(t, 2, now, "its own")
		now, _, _ = running["slow"].seen()
		require.Equal(t, 8, now, "the default")
		_, _, entered := running["quick"].seen()
		require.Equal(t, 101, entered)
		pass(14 * time.Second)
		for _, d := range o.deliveries() {
			if d.Destination == "hung" && len(d.Attempts) > 0 {
				require.Equal(t, "timeout", d.Attempts[0].Class)
				require.GreaterOrEqual(t, d.Attempts[0].Duration, 15*time.Second-time.Millisecond)
			}
		}
	})
}

// The guard stands between the dispatcher and the network: what it refuses is dead
// at once, and the error names the setting that would allow it.
func TestAttempt_Guarded(t *testing.T) {
	for name, c := range map[string]struct{ url, says string }{
		"loopback": {"https://localhost:8443/", "Guard.Development"},
		"http":     {"http://a.example/", "Guard.Development"},
		"metadata": {"https://169.254.169.254/latest", "Guard.Allow"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOutbox(t, webhook.DispatcherConfig{
				Unguarded: func(webhook.Endpoint) http.RoundTripper { return nil },
				Endpoints: webhook.EndpointFunc(func(_ context.Context, id string) (webhook.Endpoint, error) {
					return webhook.Endpoint{ID: id, URL: c.url, Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}, nil
				}),
			})
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- o.out.Run(ctx) }()
			o.send(webhook.Event{ID: "1", To: []string{"a"}})
			require.Eventually(t, func() bool { return o.only().State == store.Dead }, 10*time.Second, time.Millisecond)
			cancel()
			require.NoError(t, <-ran)
			d := o.only()
			require.Contains(t, d.Reason, c.says)
			require.Equal(t, "blocked", d.Attempts[0].Class)
		})
	}
}

// The traceparent of the event goes out only when asked for.
func TestAttempt_Propagate(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, propagate := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := newOutbox(t, webhook.DispatcherConfig{Propagate: propagate}, webhook.Endpoint{ID: "a"})
			o.run()
			o.send(webhook.Event{ID: "1", Headers: http.Header{"Traceparent": {trace}}})
			synctest.Wait()
			want := ""
			if propagate {
				want = trace
			}
			require.Equal(t, want, o.net.posts()[0].header.Get("Traceparent"))
		})
	}
}

// The request is what http.NewRequest makes: net/http sends it in one piece, and can
// do so again where a connection turns out to be closed.
func TestAttempt_Request(t *testing.T) {
	for _, body := range []string{`{"type":"invoice.paid"}`, ""} {
		synctest.Test(t, func(t *testing.T) {
			o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a"})
			o.net.answer = func(_ int, r *http.Request) reply {
				want, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "https://a.example/hooks", bytes.NewReader([]byte(body)))
				require.NoError(t, err)
				for _, r := range []*http.Request{r, want} {
					again, err := r.GetBody()
					require.NoError(t, err)
					got, err := io.ReadAll(again)
					require.NoError(t, err)
					require.Equal(t, body, string(got))
					require.IsType(t, r.Body, again)
					r.Body = again
				}
				require.IsType(t, want.Body, r.Body)
				want.Header, want.Body, want.GetBody = r.Header, r.Body, nil
				r.GetBody = nil
				require.Equal(t, want, r)
				return status(http.StatusOK)
			}
			o.run()
			o.send(webhook.Event{ID: "1", Body: []byte(body)})
			synctest.Wait()
			require.Equal(t, store.Processed, o.only().State)
		})
	}
}

// What a signer does to the values of a header is done to no other's, and not to the
// endpoint's.
func TestAttempt_SignerChangesHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := webhook.Endpoint{ID: "a", Signers: []string{"standard", "mine"}, Headers: http.Header{"X-Shop": {"1"}}}
		o := newOutbox(t, webhook.DispatcherConfig{Signers: map[string]webhook.Signer{
			"mine": func(r *webhook.Request, _ webhook.Event) error {
				for name := range r.Header {
					r.Header[name][0] = name
					r.Header.Add(name, "more")
				}
				return nil
			},
		}}, ep)
		o.run()
		o.send(webhook.Event{ID: "1"})
		synctest.Wait()
		require.Len(t, o.net.posts(), 1)
		sent := o.net.posts()[0].header
		require.Len(t, sent, 6)
		for name, values := range sent {
			require.Equal(t, []string{name, "more"}, values)
		}
		require.Equal(t, http.Header{"X-Shop": {"1"}}, ep.Headers)
	})
}
