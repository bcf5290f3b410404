package webhook_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// Middlewares before Acknowledge run once, on arrival; those after it at each
// attempt.
func TestAcknowledge_Middlewares(t *testing.T) {
	bothWays(t, func(t *testing.T, born bool) {
		r := newRig(t, webhook.QueueConfig{Retry: fixed(5, time.Second)})
		var order []string
		note := func(name string) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					order = append(order, name)
					next.ServeHTTP(w, q)
				})
			}
		}
		attempts := 0
		route := webhook.Chain(note("before"), believed, note("verified"), r.inbox.Acknowledge("orders"), note("after"))(
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if attempts++; attempts < 3 {
					w.WriteHeader(http.StatusInternalServerError)
				}
			}))
		r.arrive(born, func() { require.Equal(t, 200, postTo(route, "/", `[{"ID":"1"}]`, nil)) })
		require.Equal(t, []string{"before", "verified", "after", "after", "after"}, order)
		require.Equal(t, 3, attempts)
		d := r.only()
		require.Equal(t, store.Processed, d.State)
		require.Equal(t, "orders", d.Destination)
		require.Equal(t, []int{500, 500, 200}, []int{d.Attempts[0].Status, d.Attempts[1].Status, d.Attempts[2].Status})
	})
}

func TestAcknowledge_Panics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		wrap := r.inbox.Acknowledge("orders")
		wrap(http.NotFoundHandler())
		taken := `webhook: Acknowledge("orders"): the name is taken: a name has one handler, and further routes use Receive("orders")`
		require.PanicsWithValue(t, taken, func() { wrap(http.NotFoundHandler()) })
		require.PanicsWithValue(t, taken, func() { r.inbox.Acknowledge("orders")(http.NotFoundHandler()) })
		require.NotPanics(t, func() { r.inbox.Receive("orders") })
		require.PanicsWithValue(t, "webhook: Acknowledge: the name is empty", func() { r.inbox.Acknowledge("") })
		require.PanicsWithValue(t, `webhook: Acknowledge("x"): the handler is nil`, func() { r.inbox.Acknowledge("x")(nil) })
		late := r.inbox.Acknowledge("late")
		r.run()
		require.PanicsWithValue(t, `webhook: Acknowledge("late"): Run began before: wrap handlers first`, func() { late(http.NotFoundHandler()) })
	})
}

// Without Verify in front of it nothing is believed.
func TestAcknowledge_WithoutVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		route := r.inbox.Acknowledge("orders")(http.NotFoundHandler())
		require.Equal(t, 500, postTo(route, "/", `[{"ID":"1"}]`, nil))
		require.Empty(t, r.deliveries())
	})
}
