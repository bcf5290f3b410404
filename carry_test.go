package webhook_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

func TestCarry(t *testing.T) {
	type userKey struct{}
	carry := func(q *http.Request) map[string]string {
		user, _ := q.Context().Value(userKey{}).(string)
		return map[string]string{"user": user, "\xff": "caf\xe9\x00"}
	}
	bothWays(t, func(t *testing.T, born bool) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Carry: carry})
		var mu sync.Mutex
		var got []map[string]string
		note := func(ctx context.Context) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, webhook.Carried(ctx))
		}
		r.inbox.Handle("plain", func(ctx context.Context, _ webhook.Event) error {
			note(ctx)
			return nil
		})
		r.inbox.Handle("wrapped", webhook.HTTPHandler(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			assert.Nil(t, q.Context().Value(userKey{}), "the context itself did not survive")
			note(q.Context())
		})))
		signIn := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				next.ServeHTTP(w, q.WithContext(context.WithValue(q.Context(), userKey{}, "ann")))
			})
		}
		r.arrive(born, func() {
			require.Equal(t, 200, postTo(signIn(believed(r.inbox.Receive("plain"))), "/", `[{"ID":"1"},{"ID":"2"}]`, nil))
			require.Equal(t, 200, postTo(signIn(believed(r.inbox.Receive("wrapped"))), "/", `[{"ID":"3"}]`, nil))
		})
		want := map[string]string{"user": "ann", "\xff": "caf\xe9\x00"}
		require.Equal(t, []map[string]string{want, want, want}, got)
	})
	require.Nil(t, webhook.Carried(t.Context()))
}

// What Carry returns is its own to change afterwards.
func TestCarry_IsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := map[string]string{"n": "1"}
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Carry: func(*http.Request) map[string]string { return mine }})
		var got map[string]string
		r.inbox.Handle("slow", func(ctx context.Context, _ webhook.Event) error {
			time.Sleep(time.Second)
			got = maps.Clone(webhook.Carried(ctx))
			return nil
		})
		r.run()
		require.Equal(t, 200, postTo(believed(r.inbox.Receive("slow")), "/", `[{"ID":"1"}]`, nil))
		mine["n"] = "2"
		pass(time.Minute)
		require.Equal(t, map[string]string{"n": "1"}, got)
	})
}

func TestCarry_Bounds(t *testing.T) {
	for name, c := range map[string]struct {
		carry  func(*http.Request) map[string]string
		body   string
		status int
		stored int
	}{
		"nothing":          {func(*http.Request) map[string]string { return nil }, `[{"ID":"1"}]`, 200, 1},
		"at the bound":     {func(*http.Request) map[string]string { return map[string]string{"ab": strings.Repeat("x", 8190)} }, `[{"ID":"1"}]`, 200, 1},
		"above":            {func(*http.Request) map[string]string { return map[string]string{"ab": strings.Repeat("x", 8191)} }, `[{"ID":"1"}]`, 500, 0},
		"above, no events": {func(*http.Request) map[string]string { panic("not called") }, `[]`, 200, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigWith(t, memory.New(), webhook.InboxConfig{Carry: c.carry})
				r.inbox.Handle("orders", new(collector).handle)
				require.Equal(t, c.status, postTo(believed(r.inbox.Receive("orders")), "/", c.body, nil))
				require.Len(t, r.deliveries(), c.stored)
				if c.status == 500 {
					said := r.logs.having(t, "reason", "wiring")
					require.Len(t, said, 1)
					require.Equal(t, "webhook: receive: InboxConfig.Carry returned 8193 bytes, at most 8192", said[0]["error"])
				}
				require.NotContains(t, r.logs.String(), "xxx")
			})
		})
	}
}

func TestCarry_Panics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Carry: func(*http.Request) map[string]string { panic("of Carry") }})
		r.inbox.Handle("orders", new(collector).handle)
		r.run()
		require.PanicsWithValue(t, "of Carry", func() {
			postTo(believed(r.inbox.Receive("orders")), "/", `[{"ID":"1"}]`, nil)
		}, "net/http's to recover")
		require.Empty(t, r.deliveries())
	})
}
