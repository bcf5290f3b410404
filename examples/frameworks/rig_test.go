package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// The secrets of the senders, and of somebody who knows none of them.
const (
	shopSecret   = "whsec_c2hvcHNob3BzaG9wc2hvcHNob3BzaG9wc2hvcA=="
	acmeSecret   = "whsec_YWNtZWFjbWVhY21lYWNtZWFjbWVhY21lYWNtZQ=="
	globexSecret = "whsec_Z2xvYmV4Z2xvYmV4Z2xvYmV4Z2xvYmV4Z2xvYg=="
	forger       = "whsec_Zm9yZ2VyZm9yZ2VyZm9yZ2VyZm9yZ2VyZm9yZw=="
)

const payload = `{"type":"order.paid","data":{"number":"4711"}}`

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

// rig is a running service behind one server that listens.
type rig struct {
	*service
	t       *testing.T
	url     string
	log     *record
	handled chan webhook.Event // by the handler of orders
	full    *atomic.Bool       // the disk is: what is added is not stored
	stop    func()             // the server, then the inbox; again: nothing
}

// disk is a store that can be full.
type disk struct {
	store.Store
	full atomic.Bool
}

func (d *disk) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	if len(b.Adds) > 0 && d.full.Load() {
		return nil, fmt.Errorf("disk full: %w", store.ErrClosed) // one that is not tried again meanwhile
	}
	return d.Store.Commit(ctx, b)
}

// record is a log that is read while it is written.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// start serves what of returns, for a new service.
func start(t *testing.T, of func(*service) server) *rig {
	t.Helper()
	st := &disk{Store: memory.New()}
	r := &rig{t: t, log: &record{}, handled: make(chan webhook.Event, 100), full: &st.full}
	var err error
	r.service, err = newService(config{
		store: st, secret: shopSecret, tenants: map[string]string{"acme": acmeSecret, "globex": globexSecret},
		process: func(_ context.Context, e webhook.Event) error {
			r.handled <- e
			return nil
		},
		telemetry: webhook.Telemetry{Logger: slog.New(slog.NewTextHandler(r.log, nil))},
	})
	require.NoError(t, err)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r.url = "http://" + l.Addr().String()
	srv := of(r.service)
	served, drained := make(chan error, 1), make(chan error, 1)
	running, end := context.WithCancel(context.Background())
	go func() { served <- srv.serve(l) }()
	go func() { drained <- webhook.Run(running, r.inbox) }()
	r.stop = sync.OnceFunc(func() {
		client.CloseIdleConnections()
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, srv.shutdown(stopping))
		require.NoError(t, <-served)
		end()
		require.NoError(t, <-drained)
		require.NoError(t, st.Close())
	})
	t.Cleanup(r.stop)
	return r
}

// everywhere runs test against each framework.
func everywhere(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	for i, framework := range []string{"chi", "gin", "echo", "fiber"} {
		t.Run(framework, func(t *testing.T) {
			test(t, start(t, func(s *service) server {
				require.Equal(t, framework, s.servers()[i].framework)
				require.Len(t, s.servers(), 4, "a server is not tested")
				return s.servers()[i]
			}))
		})
	}
}

// client does not follow redirects: few senders do.
var client = &http.Client{
	Transport:     http.DefaultTransport.(*http.Transport).Clone(),
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       10 * time.Second,
}

// sign returns the headers of a request that was signed with secret.
func (r *rig) sign(secret, id, body string) http.Header {
	r.t.Helper()
	signed := &webhook.Request{
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   []byte(body), Secrets: []webhook.Secret{{Value: secret}},
	}
	require.NoError(r.t, r.shop.Sign(signed, webhook.Event{ID: id}))
	return signed.Header
}

// post sends body to path, signed with secret, and returns the answer.
func (r *rig) post(path, secret, id, body string) (status int, text string) {
	r.t.Helper()
	return r.send(http.MethodPost, path, r.sign(secret, id, body), strings.NewReader(body))
}

func (r *rig) send(method, path string, h http.Header, body io.Reader) (status int, text string) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, body)
	require.NoError(r.t, err)
	req.Header = h
	return r.do(client, req)
}

func (r *rig) do(c *http.Client, req *http.Request) (status int, text string) {
	r.t.Helper()
	res, err := c.Do(req)
	require.NoError(r.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return res.StatusCode, string(b)
}

// processed waits for the next event that the handler of orders gets.
func (r *rig) processed() webhook.Event {
	r.t.Helper()
	select {
	case e := <-r.handled:
		return e
	case <-time.After(10 * time.Second):
		require.Fail(r.t, "nothing was processed", r.log)
		return webhook.Event{}
	}
}

// nothingMore stops everything, and fails if the handler of orders ran again or
// the store has not n deliveries.
func (r *rig) nothingMore(n int) {
	r.t.Helper()
	stored, err := r.inbox.Queue().Count(context.Background(), store.Filter{}, 100)
	require.NoError(r.t, err)
	require.Equal(r.t, n, stored)
	r.stop()
	require.Empty(r.t, r.handled)
}
