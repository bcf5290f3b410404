package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// Endpoint is where events are sent: plain data, to be kept where you like. Its ID
// is stored with each delivery: keep it.
type Endpoint struct {
	ID     string
	Tenant string   // an event goes to endpoints of exactly its tenant
	URL    string   // https, on a port that Guard allows; without user, password and fragment
	Types  []string // of events: "invoice.paid", "invoice.*", "*"; empty: all

	// Secrets sign each request: every one that is valid, so that a new one and
	// the one before overlap while the receiver changes over. See Secret.Until.
	Secrets []Secret

	// Signers name what signs, side by side on one request: "standard", and those
	// of DispatcherConfig.Signers. Default "standard".
	Signers []string

	Headers     http.Header   // of each request, such as an Authorization; not Webhook-*, Host, or what frames a message
	Timeout     time.Duration // of one attempt, from connecting to the last byte of the answer; default QueueConfig.Timeout
	Retry       RetryPolicy   // zero fields: those of QueueConfig.Retry
	Concurrency int           // attempts at once, in this process; default DispatcherConfig.PerEndpoint
}

// EndpointError says what is wrong with an endpoint: what Check returns, and
// NewDispatcher of an EndpointList, has one for errors.As. Its text is all of it, for
// whoever runs the program; it holds no secret.
type EndpointError struct {
	ID      string // the endpoint's
	Problem string // for whoever entered it: "10.0.0.7: not a public address: …", "has no ID"
	Setting string // the field that would allow it, such as "Guard.Allow"; empty: there is none

	err error
}

func (e *EndpointError) Error() string {
	return fmt.Sprintf("endpoint %q: %v", observe.Clean(e.ID), e.err)
}

// Unwrap returns what went wrong.
func (e *EndpointError) Unwrap() error { return e.err }

// Endpoints finds endpoints: an [EndpointList], an [EndpointFunc] over a table of
// your own, or both methods of your own. Safe for concurrent use.
type Endpoints interface {
	// Match names the endpoints of an event that has no To. In SendIn, w is the
	// caller's transaction, and ctx the caller's too: whoever asks a database
	// takes the transaction from ctx, where the caller put it, since a query on
	// a second connection may wait for the first, and neither would go on. In
	// Send, w is nil. An error stores nothing.
	Match(ctx context.Context, w store.Tx, e Event) ([]string, error)

	// Endpoint is asked before each attempt, so that a change counts at once, and
	// hourly for endpoints that are held.
	// ErrNotFound discards the deliveries for it; other errors defer them, and so
	// does an endpoint with another ID; an empty one is set.
	Endpoint(ctx context.Context, id string) (Endpoint, error)
}

// EndpointList is a fixed set of endpoints, matched by tenant and type.
// NewDispatcher checks each of them.
type EndpointList []Endpoint

// Match names those of e's tenant that want its type.
func (l EndpointList) Match(_ context.Context, _ store.Tx, e Event) ([]string, error) {
	var ids []string
	for i := range l {
		if l[i].Tenant == e.Tenant && l[i].wants(e.Type) {
			ids = append(ids, l[i].ID)
		}
	}
	return ids, nil
}

// Endpoint returns the one with that id.
func (l EndpointList) Endpoint(_ context.Context, id string) (Endpoint, error) {
	for i := range l {
		if l[i].ID == id {
			return l[i], nil
		}
	}
	return Endpoint{}, fmt.Errorf("webhook: endpoint %q: %w", id, ErrNotFound)
}

// EndpointFunc finds an endpoint by its id, for a host that chooses endpoints by
// its own SQL, in its own transaction, and names them in Event.To: it matches none.
type EndpointFunc func(ctx context.Context, id string) (Endpoint, error)

// Match names none.
func (f EndpointFunc) Match(context.Context, store.Tx, Event) ([]string, error) { return nil, nil }

// Endpoint calls f.
func (f EndpointFunc) Endpoint(ctx context.Context, id string) (Endpoint, error) { return f(ctx, id) }

// wants reports whether the endpoint takes events of that type.
func (ep *Endpoint) wants(typ string) bool {
	if len(ep.Types) == 0 {
		return true
	}
	return slices.ContainsFunc(ep.Types, func(t string) bool {
		if prefix, ok := strings.CutSuffix(t, "*"); ok {
			return strings.HasPrefix(typ, prefix)
		}
		return t == typ
	})
}

// check returns what makes no sense in the endpoint, its URL aside.
func (ep *Endpoint) check() error {
	switch {
	case ep.ID == "":
		return errors.New("has no ID")
	case len(ep.ID) > maxText:
		return fmt.Errorf("has an ID of %d bytes, at most %d", len(ep.ID), maxText)
	case ep.Timeout < 0 || ep.Concurrency < 0:
		return fmt.Errorf("has Timeout %s and Concurrency %d: neither may be negative", ep.Timeout, ep.Concurrency)
	}
	for _, t := range ep.Types {
		if star := strings.IndexByte(t, '*'); t == "" || star >= 0 && star != len(t)-1 {
			return fmt.Errorf("has a type %q: a \"*\" stands at the end alone", t)
		}
	}
	if err := checkHeaders(ep.Headers); err != nil {
		return err
	}
	if err := ep.Retry.validate(); err != nil {
		return fmt.Errorf("has a Retry: %w", err)
	}
	return nil
}

// reserved are headers that a caller's would contradict: of the message's framing,
// of the connection, and of what this package sets.
var reserved = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Connection", "Keep-Alive", "Upgrade", "Expect",
	"Accept-Encoding", "Content-Encoding", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate",
	"Idempotency-Key", "X-Idempotency-Key", // net/http would post again by itself; Webhook-Id is that key
}

// checkHeaders returns what is wrong with headers that are to be sent.
func checkHeaders(h http.Header) error {
	for name, values := range h {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !isToken(name):
			return fmt.Errorf("has a header %q, which is no header's name", name)
		case slices.Contains(reserved, canonical), strings.HasPrefix(canonical, "Webhook-"):
			return fmt.Errorf("has the header %s, which is not its to set", canonical)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, isControl) {
				return fmt.Errorf("has a control character in the header %s", canonical)
			}
		}
	}
	return nil
}

// isToken reports whether s is a token by RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isControl reports whether r may not stand in a header's value: RFC 9110,
// section 5.5.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
