package webhook_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

func TestHTTPHandler_Answers(t *testing.T) {
	status := func(code int, after ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, a := range after {
				w.Header().Set("Retry-After", a)
			}
			http.Error(w, "s3cret", code)
		}
	}
	const dead, processed = store.Dead, store.Processed
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // synctest's
	date := func(d time.Duration) string { return start.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		state  store.State // after one failure: the budget is one attempt
		status int
		class  string
		err    string        // of the attempt
		after  time.Duration // if deferred
	}{
		"nothing":         {func(http.ResponseWriter, *http.Request) {}, processed, 200, "", "", 0},
		"headers alone":   {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", "y") }, processed, 200, "", "", 0},
		"a body alone":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }, processed, 200, "", "", 0},
		"204":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, processed, 204, "", "", 0},
		"299":             {status(299), processed, 299, "", "", 0},
		"the first stays": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); w.WriteHeader(500) }, processed, 202, "", "", 0},
		"a body, then an error": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ok")
			w.WriteHeader(500)
		}, processed, 200, "", "", 0},
		"flushed, then an error": {func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			w.WriteHeader(500)
		}, processed, 200, "", "", 0},
		"early hints":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(404) }, dead, 404, "http_4xx", "404 Not Found", 0},
		"101":                   {status(101), dead, 101, "http_1xx", "101 Switching Protocols", 0},
		"a redirect":            {status(302), dead, 302, "http_3xx", "302 Found", 0},
		"404":                   {status(404), dead, 404, "http_4xx", "404 Not Found", 0},
		"500 with Retry-After":  {status(500, "60"), dead, 500, "http_5xx", "500 Internal Server Error", 0},
		"a status without name": {status(599), dead, 599, "http_5xx", "599", 0},

		"429":                        {status(429), dead, 429, "http_4xx", "429 Too Many Requests", 0},
		"503":                        {status(503), dead, 503, "http_5xx", "503 Service Unavailable", 0},
		"429 after seconds":          {status(429, "90"), store.Queued, 429, "http_4xx", "429 Too Many Requests", 90 * time.Second},
		"503 after seconds":          {status(503, "90"), store.Queued, 503, "http_5xx", "503 Service Unavailable", 90 * time.Second},
		"503 at once":                {status(503, "0"), store.Queued, 503, "http_5xx", "503 Service Unavailable", time.Second},
		"503 after too long":         {status(503, "86401"), store.Queued, 503, "http_5xx", "503 Service Unavailable", 24 * time.Hour},
		"503 after for ever":         {status(503, strings.Repeat("9", 50)), store.Queued, 503, "http_5xx", "503 Service Unavailable", 24 * time.Hour},
		"503 at a date":              {status(503, date(2*time.Hour)), store.Queued, 503, "http_5xx", "503 Service Unavailable", 2 * time.Hour},
		"503 at a date that is past": {status(503, date(-time.Hour)), store.Queued, 503, "http_5xx", "503 Service Unavailable", time.Second},
		"503 in a thousand years":    {status(503, "Fri, 01 Jan 3000 00:00:00 GMT"), store.Queued, 503, "http_5xx", "503 Service Unavailable", 24 * time.Hour},
		"503, negative":              {status(503, "-1"), dead, 503, "http_5xx", "503 Service Unavailable", 0},
		"503, a fraction":            {status(503, "1.5"), dead, 503, "http_5xx", "503 Service Unavailable", 0},
		"503, words":                 {status(503, "soon s3cret"), dead, 503, "http_5xx", "503 Service Unavailable", 0},
		"503, Retry-After too late":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); w.Header().Set("Retry-After", "60") }, dead, 503, "http_5xx", "503 Service Unavailable", 0},

		"a panic":              {func(http.ResponseWriter, *http.Request) { panic("s3cret") }, dead, 0, "panic", "panics with string at", 0},
		"a panic after 200":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic("s3cret") }, dead, 0, "panic", "panics with string at", 0},
		"ErrAbortHandler":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, dead, 0, "panic", "panics with http.ErrAbortHandler at", 0},
		"no status at all":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(99) }, dead, 0, "panic", "panics with string at", 0},
		"cannot be hijacked":   {hijack, dead, 500, "http_5xx", "500 Internal Server Error", 0},
		"its context is ended": {func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }, dead, 0, "timeout", "before it answered", 0},
		"an error once ended":  {func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done(); w.WriteHeader(502) }, dead, 502, "http_5xx", "502 Bad Gateway", 0},
		"done, though late":    {func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done(); w.WriteHeader(200) }, processed, 200, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Retry: fixed(1, time.Minute), Timeout: 5 * time.Second})
				r.inbox.Handle("orders", webhook.HTTPHandler(c.h))
				r.run()
				r.add(event("1", "orders"))
				synctest.Wait()
				due := time.Now().Add(c.after)
				pass(5 * time.Second)

				d := r.only()
				require.Equal(t, c.state, d.State)
				require.NotEmpty(t, d.Attempts)
				a := d.Attempts[0] // as Queue.Get shows it
				require.Equal(t, c.status, a.Status)
				require.Equal(t, c.class, a.Class)
				if c.err == "" {
					require.Empty(t, a.Err)
				} else {
					require.Contains(t, a.Err, c.err)
				}
				if c.after > 0 {
					require.Equal(t, store.OutcomeDeferred, a.Outcome)
					require.Zero(t, d.Spent)
				}
				if c.after > time.Minute {
					require.Equal(t, due.UTC(), d.Due.UTC())
				}
				require.NotContains(t, a.Err+d.Reason+r.logs.String()+string(a.Response), "s3cret")
			})
		})
	}
}

// After ten deferrals a 503 counts as a failure, as RetryAfter does.
func TestHTTPHandler_DefersTenTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Retry: fixed(1, time.Minute)})
		r.inbox.Handle("orders", webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
		})))
		r.run()
		r.add(event("1", "orders"))
		pass(time.Hour)
		d := r.only()
		require.Equal(t, store.Dead, d.State)
		require.Equal(t, 10, d.Deferred)
		require.Len(t, d.Attempts, 11)
		require.Equal(t, "failed 1 times: webhook: the handler answered 429 Too Many Requests", d.Reason)
	})
}

func hijack(w http.ResponseWriter, _ *http.Request) {
	if _, _, err := http.NewResponseController(w).Hijack(); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func TestHTTPHandler_ResponseWriter(t *testing.T) {
	h := func(f func(w http.ResponseWriter)) error {
		return webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { f(w) }))(t.Context(), event("1"))
	}
	require.NoError(t, h(func(w http.ResponseWriter) {
		c := http.NewResponseController(w)
		require.NoError(t, c.Flush())
		require.ErrorIs(t, c.SetReadDeadline(time.Now()), http.ErrNotSupported)
		require.ErrorIs(t, c.SetWriteDeadline(time.Now()), http.ErrNotSupported)
		require.ErrorIs(t, c.EnableFullDuplex(), http.ErrNotSupported)
		_, _, err := c.Hijack()
		require.ErrorIs(t, err, http.ErrNotSupported)
	}))
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		_ = h(func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, err := w.Write([]byte("x"))
			require.ErrorIs(t, err, http.ErrBodyNotAllowed)
		})
	}
}

// An answer costs nothing, however long it is.
func TestHTTPHandler_LongAnswer(t *testing.T) {
	chunk, text := bytes.Repeat([]byte("x"), 1<<20), strings.Repeat("x", 1<<20)
	h := webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 50 {
			n, err := w.Write(chunk)
			m, err2 := io.WriteString(w, text)
			if n != 1<<20 || m != n || err != nil || err2 != nil {
				t.Fatal(n, err, m, err2)
			}
		}
	}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, h(t.Context(), event("1")))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<10), "for 100 MiB")
}

// What writes without end is told to stop when its time is over.
func TestHTTPHandler_EndlessAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Timeout: 10 * time.Second, Retry: fixed(1, 0)})
		r.inbox.Handle("orders", webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			for {
				if _, err := w.Write([]byte("x")); err != nil {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					return
				}
				time.Sleep(time.Second)
			}
		})))
		r.run()
		r.add(event("1", "orders"))
		pass(time.Minute)
		require.Equal(t, store.Dead, r.only().State)
	})
}

// A handler that gave up because the process drains, or because another worker has
// the delivery, did not answer 200 by saying nothing.
func TestHTTPHandler_ContextEnds(t *testing.T) {
	gaveUp := func(cause *error) http.HandlerFunc {
		return func(_ http.ResponseWriter, q *http.Request) {
			<-q.Context().Done()
			*cause = context.Cause(q.Context())
		}
	}
	t.Run("drain", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{Drain: time.Second})
			var cause error
			r.inbox.Handle("orders", webhook.HTTPHandler(gaveUp(&cause)))
			stop := r.run()
			r.add(event("1", "orders"))
			synctest.Wait()
			require.NoError(t, stop())
			require.ErrorContains(t, cause, "time to drain")
			d := r.only()
			require.Equal(t, store.Queued, d.State)
			require.Zero(t, d.Spent, "handed back")
		})
	})
	t.Run("lease lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{Lease: 3 * time.Second})
			var cause error
			r.inbox.Handle("orders", webhook.HTTPHandler(gaveUp(&cause)))
			r.run()
			r.add(event("1", "orders"))
			synctest.Wait()
			r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
				if len(b.Renews) == 0 {
					return real(ctx, b)
				}
				res := &store.Results{Renews: make([]store.Result, len(b.Renews))}
				for i := range res.Renews {
					res.Renews[i] = store.LeaseLost
				}
				return res, nil
			})
			pass(2 * time.Second)
			require.ErrorIs(t, cause, store.ErrLeaseLost)
			require.NotEqual(t, store.Processed, r.only().State)
		})
	})
}
