package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surehook/webhook/internal/engine"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/internal/post"
	"github.com/surehook/webhook/internal/recent"
	"github.com/surehook/webhook/internal/standard"
	"github.com/surehook/webhook/store"
)

// standardSigner is the name of Standard Webhooks in Endpoint.Signers.
const standardSigner = "standard"

// Pauses of an endpoint that is not to be called.
const (
	// slowFor is how long an endpoint is left alone that is overloaded, or whose
	// gateway says so, and that names no time itself.
	slowFor = 5 * time.Second
	// askAgain is after which time Endpoints is asked again that failed.
	askAgain = 10 * time.Second
)

// endpointDeleted is why deliveries are discarded whose endpoint is gone.
const endpointDeleted = "endpoint deleted"

func (ep *Endpoint) signers() []string {
	if len(ep.Signers) == 0 {
		return []string{standardSigner}
	}
	return ep.Signers
}

// usable returns the secrets that are valid at that time.
func (ep *Endpoint) usable(at time.Time) []Secret {
	unusable := func(s Secret) bool { return !s.usable(at) }
	if !slices.ContainsFunc(ep.Secrets, unusable) {
		return ep.Secrets
	}
	return slices.DeleteFunc(slices.Clone(ep.Secrets), unusable)
}

// standardKeys signs by Standard Webhooks, v1 and v1a:
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
type standardKeys struct {
	prepared *recent.Memo[string, *standard.Key]
}

// sign signs with each secret.
func (k standardKeys) sign(r *Request, e Event) error {
	if len(r.Secrets) == 0 {
		return errors.New("has no secret that is valid now")
	}
	list := make([]byte, 0, 128) // of two secrets
	for _, s := range r.Secrets {
		key, err := k.prepared.Of(s.Value)
		if err != nil {
			return fmt.Errorf("secret %s %w", s, err)
		}
		if len(list) > 0 {
			list = append(list, ' ')
		}
		list = key.Sign(list, e.ID, r.Time, r.Body)
	}
	values := []string{e.ID, strconv.FormatInt(r.Time.Unix(), 10), string(list)}
	for i, name := range [...]string{standard.HeaderID, standard.HeaderTimestamp, standard.HeaderSignature} {
		r.Header[name] = values[i : i+1 : i+1]
	}
	return nil
}

// sending is one attempt of a delivery.
type sending struct {
	d        *Dispatcher
	delivery *store.Delivery
	endpoint Endpoint
	event    Event
	start    time.Time
	result   post.Result
	hold     *store.Hold
}

// attempt makes one try of dl: the dispatcher's half of the engine.
func (d *Dispatcher) attempt(ctx context.Context, dl *store.Delivery, event any, out *engine.Outcome) {
	if lost(dl, false, out) {
		return
	}
	s := &sending{d: d, delivery: dl, start: time.Now()}
	err := errLeft
	// Deferred, since the host's functions may leave by runtime.Goexit.
	defer func() {
		*out = safeOutcome(dl, s.endpoint.Retry.or(d.c.Queue.Retry.or(outboundRetry)), err, s.start)
		out.Hold = s.hold
		s.record(out.Attempt)
	}()
	err = recovered("endpoint or signer", func() error { return s.send(ctx, event) })
}

// send asks for the endpoint, and posts the event to it.
func (s *sending) send(ctx context.Context, event any) error {
	d, whole, start := s.d, ctx, time.Now()
	// A host's table may hang. What is the endpoint's own time begins after it.
	ctx, cancel := engine.Within(whole, d.c.Queue.Timeout)
	defer func() { cancel() }()
	ep, err := s.find(ctx)
	if err != nil {
		return err
	}
	in, known := event.(*handed)
	if !known {
		if in, err = handedOf(s.delivery.Record); err != nil {
			return Permanent(err)
		}
	}
	s.event = in.event
	timeout := ep.Timeout
	if timeout <= 0 {
		timeout = d.c.Queue.Timeout
	}
	if timeout != d.c.Queue.Timeout || time.Since(start) > timeout/100 { // else it is the same, near enough
		cancel()
		ctx, cancel = engine.Within(whole, timeout)
	}
	r, err := s.request()
	if err != nil {
		return err
	}
	var through http.RoundTripper
	if d.c.Unguarded != nil {
		through = d.c.Unguarded(ep)
	}
	s.result = d.client.Post(ctx, &r, through)
	return s.verdict()
}

// find asks for the endpoint.
func (s *sending) find(ctx context.Context) (Endpoint, error) {
	id := s.delivery.Destination
	ep, err := s.d.c.Endpoints.Endpoint(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		s.d.saw(&Endpoint{ID: id})
		return ep, Discard(endpointDeleted)
	case err != nil:
		return ep, RetryAfter(askAgain, fmt.Errorf("webhook: find endpoint: %w", err))
	}
	switch ep.ID {
	case id:
	case "":
		ep.ID = id
	default:
		// A row of somebody else's: what is for one is not sent to the other.
		return ep, RetryAfter(askAgain, fmt.Errorf("webhook: find endpoint: asked for %q, was given %q", observe.Clean(id), observe.Clean(ep.ID)))
	}
	s.endpoint = ep
	s.d.saw(&ep)
	return ep, nil
}

// request makes the request: signed now, by each of the endpoint's signers.
func (s *sending) request() (r http.Request, err error) {
	if err := s.endpoint.check(); err != nil {
		return r, Permanent(fmt.Errorf("webhook: endpoint %w", err))
	}
	u, err := s.d.client.CheckURL(s.endpoint.URL)
	if err != nil {
		return r, Permanent(&refused{fmt.Errorf("webhook: %w", err)})
	}
	ours := []string{"application/json", userAgent}
	h := http.Header{"Content-Type": ours[:1:1], "User-Agent": ours[1:]}
	for _, more := range []http.Header{s.event.Headers, s.endpoint.Headers} {
		for name, values := range more {
			h[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	h.Del("Traceparent")
	if s.d.c.Propagate && s.delivery.Record.Trace != "" {
		h.Set("Traceparent", s.delivery.Record.Trace)
	}
	now := time.Now()
	signed := &Request{Method: http.MethodPost, URL: u, Header: h, Body: s.event.Body, Time: now, Secrets: s.endpoint.usable(now)}
	for _, name := range s.endpoint.signers() {
		sign := s.d.c.Signers[name]
		if sign == nil {
			return r, fmt.Errorf("webhook: endpoint names a signer %q that this process does not have", observe.Clean(name))
		}
		if err := sign(signed, s.event); err != nil {
			return r, fmt.Errorf("webhook: signer %q: %w", observe.Clean(name), &inner{err})
		}
	}
	r = http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, Header: signed.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	setBody(&r, s.event.Body)
	return r, nil
}

// setBody gives r a body as http.NewRequest does: of a type that net/http knows to
// be in memory, it goes out in one piece with the headers.
func setBody(r *http.Request, body []byte) {
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) {
		if len(body) == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	r.Body, _ = r.GetBody()
}

// userAgent tells receivers who calls, where an endpoint's headers do not.
const userAgent = "surehook-webhook/1 (+https://github.com/surehook/webhook)"

// verdict says what the answer means, as a handler's error would.
func (s *sending) verdict() error {
	r := &s.result
	switch {
	case r.Err != nil && r.Class == post.Blocked:
		return Permanent(&refused{r.Err})
	case r.Err == nil:
		return nil
	}
	err := &failure{r.Class, r.Err}
	switch r.Status {
	case http.StatusGone:
		s.holds(store.Disabled, 0, "the endpoint answered 410 Gone")
		return Permanent(err)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if r.RetryAfter > 0 {
			after := min(max(r.RetryAfter, minDeferral), maxDeferral)
			s.holds(store.Slowed, after, fmt.Sprintf("the endpoint answered %d with Retry-After", r.Status))
			return RetryAfter(after, err)
		}
		s.holds(store.Slowed, slowFor, fmt.Sprintf("the endpoint answered %d", r.Status))
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		s.holds(store.Slowed, slowFor, fmt.Sprintf("the endpoint answered %d", r.Status))
	}
	if slices.Contains(s.d.c.Permanent, r.Status) {
		return Permanent(err)
	}
	return err
}

// holds keeps the endpoint from being called, by whatever process.
func (s *sending) holds(kind store.HoldKind, d time.Duration, reason string) {
	s.hold = &store.Hold{
		Queue: s.d.c.Queue.Name, Destination: s.delivery.Destination, Kind: kind, For: d, Reason: reason,
	}
}

// record adds to the attempt's what only the post knows.
func (s *sending) record(a *store.Attempt) {
	r := &s.result
	if a == nil {
		return
	}
	a.DNS, a.Connect, a.TLS, a.FirstByte = r.DNS, r.Connect, r.TLS, r.FirstByte
	a.Status, a.Address, a.Response = r.Status, r.Address, r.Response
}

// failure is an attempt that reached no success, and its class.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }
func (f *failure) class() string { return f.kind }

// inner is an error of package webhook's as part of one: the text says once whose
// it is.
type inner struct{ err error }

func (i *inner) Error() string { return strings.TrimPrefix(i.err.Error(), "webhook: ") }
func (i *inner) Unwrap() error { return i.err }

// refused is a call that Guard does not allow.
type refused struct{ err error }

func (f *refused) Error() string { return f.err.Error() }
func (f *refused) Unwrap() error { return f.err }
func (f *refused) class() string { return post.Blocked }
