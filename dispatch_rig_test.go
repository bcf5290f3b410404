package webhook_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// outbox is a dispatcher on a memory store whose posts go to a function in place
// of a network. It lives in a bubble of testing/synctest.
type outbox struct {
	t    testing.TB
	mem  *memory.Store // without faults
	st   *faultyStore  // what the dispatcher has
	out  *webhook.Dispatcher
	net  *network
	logs *logbook
}

// newOutbox sends to endpoints, which have a secret unless they bring one.
func newOutbox(t testing.TB, c webhook.DispatcherConfig, endpoints ...webhook.Endpoint) *outbox {
	t.Helper()
	mem := memory.New()
	o := &outbox{t: t, mem: mem, st: &faultyStore{Store: mem}, net: &network{}, logs: &logbook{}}
	for i := range endpoints {
		if endpoints[i].Secrets == nil {
			endpoints[i].Secrets = []webhook.Secret{{Value: signature.NewSecret()}}
		}
		if endpoints[i].URL == "" {
			endpoints[i].URL = "https://" + endpoints[i].ID + ".example/hooks"
		}
	}
	if c.Endpoints == nil {
		c.Endpoints = webhook.EndpointList(endpoints)
	}
	if c.Unguarded == nil {
		c.Unguarded = func(webhook.Endpoint) http.RoundTripper { return o.net }
	}
	c.Queue.Telemetry.Logger = o.logs.logger()
	var err error
	o.out, err = webhook.NewDispatcher(o.st, c)
	require.NoError(t, err)
	return o
}

// run starts the dispatcher, as rig.run does.
func (o *outbox) run() (stop func() error) {
	o.t.Helper()
	return start(o.t, o.out)
}

// send sends events and wants them stored.
func (o *outbox) send(events ...webhook.Event) []webhook.Stored {
	o.t.Helper()
	stored, err := o.out.Send(o.t.Context(), events...)
	require.NoError(o.t, err)
	return stored
}

// deliveries returns all deliveries, with bodies and attempts, oldest first.
func (o *outbox) deliveries() []store.Delivery {
	o.t.Helper()
	return deliveriesOf(o.t, o.out.Queue())
}

// only returns the one delivery that there is.
func (o *outbox) only() store.Delivery {
	o.t.Helper()
	ds := o.deliveries()
	require.Len(o.t, ds, 1)
	return ds[0]
}

// holds returns the holds that stand at an endpoint.
func (o *outbox) holds(id string) []store.Hold {
	o.t.Helper()
	for s, err := range o.out.Queue().Destinations(context.Background()) {
		require.NoError(o.t, err)
		if s.Destination == id {
			return s.Held
		}
	}
	return nil
}

// posted is a request that reached the network.
type posted struct {
	at     time.Time
	method string
	url    string
	header http.Header
	body   string
}

// network is an http.RoundTripper that answers by its function, 204 without one.
type network struct {
	answer func(n int, r *http.Request) reply // n counts from 0

	mu   sync.Mutex
	seen []posted
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	i := len(n.seen)
	n.seen = append(n.seen, posted{time.Now(), r.Method, r.URL.String(), r.Header.Clone(), string(body)})
	n.mu.Unlock()
	a := status(http.StatusNoContent)
	if n.answer != nil {
		a = n.answer(i, r)
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.code, Header: a.header, Body: io.NopCloser(bytes.NewReader(nil)), ProtoMajor: 1, ProtoMinor: 1}, nil
}

func (n *network) posts() []posted {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]posted(nil), n.seen...)
}

// reply is what an endpoint answers: a status without a body, or no answer at all.
type reply struct {
	code   int
	header http.Header
	err    error
}

// status is a reply; headers are pairs.
func status(code int, headers ...string) reply {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return reply{code: code, header: h}
}

// always replies with the same status.
func always(code int, headers ...string) func(int, *http.Request) reply {
	return func(int, *http.Request) reply { return status(code, headers...) }
}

// first replies to the first n with a status, and to the others with 204.
func first(n, code int, headers ...string) func(int, *http.Request) reply {
	return func(i int, _ *http.Request) reply {
		if i < n {
			return status(code, headers...)
		}
		return status(http.StatusNoContent)
	}
}
