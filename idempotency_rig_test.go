package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// faultyKeys is a store.Keys whose calls go through functions of the test, which may
// fail, wait, or lie, before or after what they stand for.
type faultyKeys struct {
	kept store.Keys

	mu       sync.Mutex
	before   func(ctx context.Context) error // each Reserve
	reserve  func(real func() ([]bool, error)) ([]bool, error)
	confirm  func(real func() error) error
	release  func(real func() error) error
	reserves int
	windows  []time.Duration // of Confirm
}

func (k *faultyKeys) Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
	real := func() ([]bool, error) { return k.kept.Reserve(ctx, owner, keys, lease) }
	k.mu.Lock()
	k.reserves++
	f, before := k.reserve, k.before
	k.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return nil, err
		}
	}
	if f == nil {
		return real()
	}
	return f(real)
}

func (k *faultyKeys) Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
	real := func() error { return k.kept.Confirm(ctx, owner, keys, window) }
	k.mu.Lock()
	k.windows = append(k.windows, window)
	f := k.confirm
	k.mu.Unlock()
	if f == nil {
		return real()
	}
	return f(real)
}

func (k *faultyKeys) Release(ctx context.Context, owner [16]byte, keys [][32]byte) error {
	real := func() error { return k.kept.Release(ctx, owner, keys) }
	k.mu.Lock()
	f := k.release
	k.mu.Unlock()
	if f == nil {
		return real()
	}
	return f(real)
}

// on changes what the calls do from now on.
func (k *faultyKeys) on(change func(k *faultyKeys)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k)
}

// dedupRig is a route with Deduplicate in front of a handler of the test's.
type dedupRig struct {
	t     testing.TB
	mem   *memory.Store
	keys  *faultyKeys
	logs  *logbook
	route http.Handler

	mu      sync.Mutex
	handled [][]string // ids of the events, by call of the handler
}

// newDedupRig has the route handled by h; nil: it does nothing.
func newDedupRig(t testing.TB, c webhook.DedupConfig, h http.HandlerFunc) *dedupRig {
	t.Helper()
	return newDedupRigOn(t, memory.New(), c, h)
}

// newDedupRigOn is a further process on the same store.
func newDedupRigOn(t testing.TB, mem *memory.Store, c webhook.DedupConfig, h http.HandlerFunc) *dedupRig {
	t.Helper()
	d := &dedupRig{t: t, mem: mem, keys: &faultyKeys{kept: mem}, logs: &logbook{}}
	c.Telemetry.Logger = d.logs.logger()
	d.route = authentic(0, webhook.Deduplicate(d.keys, c)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ids []string
		for _, e := range webhook.Events(r.Context()) {
			ids = append(ids, e.ID)
		}
		d.mu.Lock()
		d.handled = append(d.handled, ids)
		d.mu.Unlock()
		if h != nil {
			h(w, r)
		}
	})))
	return d
}

// authentic is a route for bodies that are lists of events, with all that makes
// their keys. Its sender retries for horizon.
func authentic(horizon time.Duration, next http.Handler) http.Handler {
	v := webhook.Verifier{
		Keyless: true, NoDigest: true, Horizon: horizon,
		Check: func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
			var list []struct {
				Tenant, Source, ID string
				Keys               []string
			}
			if err := json.Unmarshal(r.Body, &list); err != nil {
				return nil, err
			}
			events := make([]webhook.Event, len(list))
			for i, e := range list {
				events[i] = webhook.Event{Tenant: e.Tenant, Source: e.Source, ID: e.ID, Type: "order.paid", Body: fmt.Appendf(nil, "payload of %s", e.ID)}
				for _, k := range e.Keys {
					events[i].Proof.Keys = append(events[i].Proof.Keys, []byte(k))
				}
			}
			return events, nil
		},
	}
	v.Telemetry = unlogged
	return webhook.Verify("shop", v)(next)
}

// unlogged is for those whose log is not looked at.
var unlogged = webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}

// send sends events, each an id, and returns the answer.
func (d *dedupRig) send(ids ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	list := make([]map[string]any, len(ids))
	for i, id := range ids {
		list[i] = map[string]any{"ID": id}
	}
	body, err := json.Marshal(list)
	require.NoError(d.t, err)
	return deliver(d.route, string(body))
}

// sendIn is send with a context.
func (d *dedupRig) sendIn(ctx context.Context, id string) *httptest.ResponseRecorder {
	d.t.Helper()
	w := httptest.NewRecorder()
	d.route.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(`[{"ID":"`+id+`"}]`)))
	return w
}

// calls returns what the handler was given so far.
func (d *dedupRig) calls() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([][]string(nil), d.handled...)
}

// requireKnown requires that ids are answered as duplicates.
func (d *dedupRig) requireKnown(ids ...string) {
	d.t.Helper()
	before := len(d.calls())
	requireDuplicate(d.t, d.send(ids...))
	require.Len(d.t, d.calls(), before, "the handler ran")
}

// requireNew requires that the handler runs for id.
func (d *dedupRig) requireNew(id string) {
	d.t.Helper()
	before := len(d.calls())
	require.Equal(d.t, http.StatusOK, d.send(id).Code)
	require.Len(d.t, d.calls(), before+1, "the handler did not run")
}

func requireDuplicate(tb testing.TB, w *httptest.ResponseRecorder) {
	tb.Helper()
	require.Equal(tb, http.StatusOK, w.Code)
	require.Equal(tb, "true", w.Header().Get("Webhook-Duplicate"))
	require.Empty(tb, w.Body.String())
}

func requireBusy(tb testing.TB, w *httptest.ResponseRecorder) {
	tb.Helper()
	require.Equal(tb, http.StatusConflict, w.Code)
	require.Equal(tb, "5", w.Header().Get("Retry-After"))
	require.Empty(tb, w.Header().Get("Webhook-Duplicate"))
}

func requireUnavailable(tb testing.TB, w *httptest.ResponseRecorder) {
	tb.Helper()
	require.Equal(tb, http.StatusServiceUnavailable, w.Code)
	require.Equal(tb, "5", w.Header().Get("Retry-After"))
}
