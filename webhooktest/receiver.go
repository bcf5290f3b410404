package webhooktest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/surehook/webhook"
)

// Receiver is somebody's endpoint, with the faults that a script gives it: each
// request takes the next one, in the order in which they arrive; those after the
// last are answered 200. It records the requests. Safe for concurrent use.
//
// It is an [http.RoundTripper], which hangs, drips and delays by the context and
// the clock of the test: under testing/synctest in no time at all. And it is a
// server on the loopback interface, at [Receiver.URL] and [Receiver.TLSURL], which
// needs real time, since synctest does not reach sockets.
type Receiver struct {
	t testing.TB

	mu       sync.Mutex
	script   []Fault // not taken yet
	requests []Recorded
	plain    *httptest.Server // nil before URL
	secure   *httptest.Server // nil before TLSURL and Client
}

// Recorded is a request that a [Receiver] got.
type Recorded struct {
	Method string
	URL    *url.URL    // whole, as it was called
	Header http.Header // of a RoundTripper without what a transport adds
	Body   []byte
	Time   time.Time // when it had come

	// Status is what it was answered with, also where the client left before all
	// of the body had come; 0: nothing.
	Status int
}

// NewReceiver returns a Receiver for the test t, with its script. The servers, if
// there are any, end with t.
func NewReceiver(t testing.TB, script ...Fault) *Receiver {
	t.Helper()
	return &Receiver{t: t, script: slices.Clone(script)}
}

// Requests returns what has come so far, in that order.
func (r *Receiver) Requests() []Recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// RequireSigned ends the test t unless a request came, and v verifies each that
// did, at the time it had come. It returns their events, in that order: retries
// of an event are there each time.
func (r *Receiver) RequireSigned(t testing.TB, v webhook.Verifier) []webhook.Event {
	t.Helper()
	var all []webhook.Event
	for _, events := range verified(t, v, r.Requests()) {
		all = append(all, events...)
	}
	return all
}

// RequireOnce ends the test t unless RequireSigned holds and each event that came
// was answered with 2xx once: a retry after that, or under another id, is one too
// many, and one that was given up is one too few.
func (r *Receiver) RequireOnce(t testing.TB, v webhook.Verifier) {
	t.Helper()
	requests := r.Requests()
	came, accepted := map[string]int{}, map[string]int{}
	var ids []string
	for i, events := range verified(t, v, requests) {
		for _, e := range events {
			if came[e.ID]++; came[e.ID] == 1 {
				ids = append(ids, e.ID)
			}
			if requests[i].Status/100 == 2 {
				accepted[e.ID]++
			}
		}
	}
	for _, id := range ids {
		if accepted[id] != 1 {
			t.Fatalf("webhooktest: event %q came %d times and was accepted %d times, want once", id, came[id], accepted[id])
		}
	}
}

// verified returns the events of each request, by v.
func verified(t testing.TB, v webhook.Verifier, requests []Recorded) [][]webhook.Event {
	t.Helper()
	if len(requests) == 0 {
		t.Fatal("webhooktest: no request came")
	}
	all := make([][]webhook.Event, len(requests))
	for i, got := range requests {
		events, err := v.Verify(t.Context(), &webhook.Request{
			Method: got.Method, URL: got.URL, Header: got.Header.Clone(), Body: got.Body, Time: got.Time,
		})
		var a *webhook.Answer
		if err != nil && (!errors.As(err, &a) || a.Err != nil) { // without Err it is a handshake's
			t.Fatalf("webhooktest: request %d of %d, %s %s: %v", i+1, len(requests), got.Method, got.URL, err)
		}
		all[i] = events
	}
	return all
}

// take records a request that has come, and returns what to do with it, and its
// number.
func (r *Receiver) take(got Recorded) (f Fault, i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	got.Time = time.Now()
	r.requests = append(r.requests, got)
	if len(r.script) > 0 {
		f, r.script = r.script[0], r.script[1:]
	}
	return f, len(r.requests) - 1
}

// takeIf takes the next fault of the script if it is of that kind.
func (r *Receiver) takeIf(k kind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isNext(k) {
		return false
	}
	r.script = r.script[1:]
	return true
}

// next reports whether the next fault is of that kind.
func (r *Receiver) next(k kind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isNext(k)
}

// isNext is next for who has the lock.
func (r *Receiver) isNext(k kind) bool { return len(r.script) > 0 && r.script[0].kind == k }

// answered notes the status of request i.
func (r *Receiver) answered(i, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests[i].Status = status
}

// refuseCertificate tells of a WrongCertificate in a place where none is shown.
func (r *Receiver) refuseCertificate() {
	r.t.Errorf("webhooktest: WrongCertificate is next in the script, and the request came over a connection that shows none: call https, one request after another")
}
