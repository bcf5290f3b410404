package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

const (
	acmeOld = "whsec_YWNtZSBvbGQgYWNtZSBvbGQgYWNtZSBvbGQgYWNtZQ=="
	acmeNew = "whsec_YWNtZSBuZXcgYWNtZSBuZXcgYWNtZSBuZXcgYWNtZQ=="
	globex  = "whsec_Z2xvYmV4IGdsb2JleCBnbG9iZXggZ2xvYmV4IGdsb2I="
)

// source is a table that can be changed and can fail, and counts who reads it.
type source struct {
	mu    sync.Mutex
	rows  []webhook.Secret
	err   error
	slow  chan struct{} // not nil: a load waits for it
	loads atomic.Int64
}

func (s *source) set(err error, rows ...webhook.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows, s.err = rows, err
}

func (s *source) load(ctx context.Context) (map[string][]webhook.Secret, error) {
	s.loads.Add(1)
	if s.slow != nil {
		<-s.slow
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	table := map[string][]webhook.Secret{}
	for _, row := range s.rows {
		table[row.Tenant] = append(table[row.Tenant], row)
	}
	return table, s.err
}

// door is the route of all tenants, before an inbox that does not run.
type door struct {
	t     *testing.T
	h     http.Handler
	inbox *webhook.Inbox
}

func newDoor(t *testing.T, s *secrets) *door {
	t.Helper()
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	quiet := webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: quiet}})
	require.NoError(t, err)
	inbox.Handle(syncing, func(context.Context, webhook.Event) error { return nil })
	h, err := handler(inbox, s)
	require.NoError(t, err)
	return &door{t, h, inbox}
}

func (d *door) post(ctx context.Context, path, secret, id string) int {
	d.t.Helper()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(payload))
	r.Header = signed(d.t, secret, id)
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	return w.Code
}

// stored are the events of the inbox, as tenant/id.
func (d *door) stored() []string {
	d.t.Helper()
	var all []string
	for found, err := range d.inbox.Queue().Find(context.Background(), store.Filter{}) {
		require.NoError(d.t, err)
		all = append(all, found.Record.Tenant+"/"+found.Record.ID)
	}
	return all
}

const payload = `{"type":"contact.updated"}`

// signed returns the headers of a request that was signed now.
func signed(t *testing.T, secret, id string) http.Header {
	t.Helper()
	v, err := provider.StandardWebhooks(secret)
	require.NoError(t, err)
	r := &webhook.Request{Body: []byte(payload), Time: time.Now(), Secrets: []webhook.Secret{{Value: secret}}}
	require.NoError(t, v.Sign(r, webhook.Event{ID: id}))
	return r.Header
}

func TestTenants_EachItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{}
		src.set(nil, webhook.Secret{Tenant: "acme", Value: acmeOld}, webhook.Secret{Tenant: "globex", Value: globex})
		d := newDoor(t, &secrets{load: src.load})

		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_1"))
		require.Equal(t, 200, d.post(t.Context(), "/hooks/globex", globex, "msg_1"), "the same id, and another event")
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_1"), "a duplicate")
		require.Equal(t, []string{"acme/msg_1", "globex/msg_1"}, d.stored())

		require.Equal(t, 401, d.post(t.Context(), "/hooks/globex", acmeOld, "msg_2"), "acme signs for globex")
		require.Equal(t, 401, d.post(t.Context(), "/hooks/initech", acmeOld, "msg_2"), "nobody knows initech")
		require.Equal(t, 401, d.post(t.Context(), "/hooks/ACME", acmeOld, "msg_2"))
		require.Equal(t, 404, d.post(t.Context(), "/hooks/acme/globex", acmeOld, "msg_2"))
		require.Len(t, d.stored(), 2)
	})
}

func TestTenants_Rotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{}
		src.set(nil, webhook.Secret{Tenant: "acme", Value: acmeOld})
		d := newDoor(t, &secrets{load: src.load})
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_1"))

		until := time.Now().Add(24 * time.Hour)
		src.set(nil, webhook.Secret{Tenant: "acme", Value: acmeNew}, webhook.Secret{Tenant: "acme", Value: acmeOld, Until: until})
		require.Equal(t, 401, d.post(t.Context(), "/hooks/acme", acmeNew, "msg_2"), "not read again yet")
		time.Sleep(fresh)
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeNew, "msg_2"))
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_3"), "both fit")

		time.Sleep(time.Until(until) - time.Second)
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_4"))
		time.Sleep(time.Until(until)) // the table was just read, and need not be read again
		require.Equal(t, 401, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_5"), "its time is over")
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeNew, "msg_5"))

		src.set(nil)
		time.Sleep(fresh)
		require.Equal(t, 401, d.post(t.Context(), "/hooks/acme", acmeNew, "msg_6"), "deleted")
	})
}

func TestTenants_TableFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{}
		src.set(errors.New("database is down"))
		d := newDoor(t, &secrets{load: src.load})
		for range 10 {
			require.Equal(t, 503, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_1"), "the sender comes again")
		}
		require.EqualValues(t, 1, src.loads.Load(), "a table that fails is not asked for each request")
		require.Empty(t, d.stored())

		src.set(nil, webhook.Secret{Tenant: "acme", Value: acmeOld})
		time.Sleep(time.Second)
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_1"))
	})
}

// However many requests come, and for whomever, the table is read once in a while;
// and a sender that hangs up under way spoils it for nobody.
func TestTenants_FromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{slow: make(chan struct{})}
		src.set(nil, webhook.Secret{Tenant: "acme", Value: acmeOld})
		s := &secrets{load: src.load}
		d := newDoor(t, s)

		gone, hangUp := context.WithCancel(t.Context())
		var first sync.WaitGroup
		first.Go(func() { d.post(gone, "/hooks/acme", acmeOld, "msg_0") })
		synctest.Wait() // it reads
		hangUp()
		close(src.slow)
		first.Wait()
		require.Equal(t, 200, d.post(t.Context(), "/hooks/acme", acmeOld, "msg_1"))

		for i := range 1000 {
			require.Equal(t, 401, d.post(t.Context(), "/hooks/"+strings.Repeat("x", i+1), acmeOld, "msg_2"))
		}
		require.EqualValues(t, 1, src.loads.Load())
		require.Equal(t, []string{"acme"}, slices.Collect(maps.Keys(s.table)), "made-up tenants take memory")

		time.Sleep(fresh)
		var crowd sync.WaitGroup
		for range 20 {
			crowd.Go(func() { d.post(t.Context(), "/hooks/acme", acmeOld, "msg_1") })
		}
		crowd.Wait()
		require.EqualValues(t, 2, src.loads.Load())
	})
}
