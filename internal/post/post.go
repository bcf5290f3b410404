// Package post makes one call of a receiver: a guarded POST that follows nothing,
// waits no longer than it is told to, reads no more than it has to, and says in a
// short word how it ended.
package post

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/surehook/webhook/internal/guard"
	"github.com/surehook/webhook/internal/recent"
)

// Defaults and limits.
const (
	DefaultMaxRead = 64 << 10
	DefaultKeep    = 4 << 10
	DefaultTimeout = 15 * time.Second // of a call whose context has no deadline

	maxHeader      = 64 << 10         // bytes of an answer's headers, those of its 1xx included
	maxURLs        = 1000             // that are not checked anew, at least
	connectTimeout = 10 * time.Second // shared by the addresses of a host, so that the second has its turn
)

// Config of a Client; the zero value is the default.
type Config struct {
	Rules guard.Rules // what may be called

	// MaxRead is how many bytes of an answer's body are read, counted before and
	// after decompression; default 64 KiB. A connection whose answer is longer is
	// not used again.
	MaxRead int64
	// Keep is how many of them are kept, as Result.Response; default 4 KiB,
	// negative: none.
	Keep int
}

// Client posts. It keeps connections and uses them again: https with HTTP/2
// where the receiver has it, TLS 1.2 or newer, certificates verified. It takes no
// proxy from the environment, sends no cookies and follows no redirects. Safe for
// concurrent use.
type Client struct {
	urls      *recent.Memo[string, *url.URL] // that may be called
	maxRead   int64
	keep      int64
	dialer    *net.Dialer
	transport *http.Transport
}

// New returns a Client. It starts nothing; Close when done.
func New(c Config) *Client {
	maxRead := cmp.Or(max(c.MaxRead, 0), DefaultMaxRead)
	client := &Client{
		urls:    recent.New(maxURLs, c.Rules.CheckURL),
		maxRead: maxRead,
		keep:    min(int64(max(cmp.Or(c.Keep, DefaultKeep), 0)), maxRead),
		dialer:  c.Rules.Dialer(&net.Dialer{Timeout: connectTimeout}),
	}
	client.transport = &http.Transport{
		Proxy:                  nil, // a proxy would dial what the guard never sees
		DialContext:            client.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // nothing is asked for; what comes compressed all the same is inflated here, and counted
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        30 * time.Second, // before common servers close them, after 60 s or 75 s
		// Finds out that a receiver vanished: a connection of HTTP/2 would
		// otherwise swallow call after call until TCP gives up.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	return client
}

// dial connects, followed by the call that it is for: net/http's ctx has the values
// of that of the request.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.dialer.DialContext(ontoDial(ctx), network, address)
}

// CheckURL is that of the client's Rules, whose answer depends on nothing else: it
// is remembered of the URLs called of late. The URL returned is the caller's.
func (c *Client) CheckURL(raw string) (*url.URL, error) {
	checked, err := c.urls.Of(raw)
	if err != nil {
		return nil, err
	}
	u := *checked // without userinfo, so that nothing is shared
	return &u, nil
}

// Close closes idle connections. Calls under way go on.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
}

// Result is how a call ended.
type Result struct {
	Status int    // HTTP status code; 0: there was no answer
	Class  string // kind of failure, one of the constants; empty: success
	Err    error  // why it failed, in words of this package's own; nil: success

	Address  string // that was connected to, or tried last
	Start    time.Time
	Duration time.Duration // to the last byte that was read

	// Phases; zero: it did not come to that, or the connection was there. One that
	// did not end has the time until the call did. FirstByte is from when the
	// connection was ready to the first byte of the answer.
	DNS, Connect, TLS, FirstByte time.Duration

	Response   []byte        // beginning of the body, inflated if it was compressed with gzip
	RetryAfter time.Duration // what a failure's Retry-After asks for, at least 1 s, not clamped otherwise; 0: nothing
	Location   string        // of a 3xx: host and port that it points to
}

// Post sends req through rt, nil for the client's own guarded transport, and
// reads the answer. Success is a status of 2xx whose body arrived, to its end or
// to Config.MaxRead; everything else has a Class and an Err.
//
// The deadline of ctx covers all of it, from the lookup of the host to the last
// byte; without one it is DefaultTimeout. ctx takes the place of req's own.
//
// One call is one request that reaches the receiver. What certainly did not is
// sent again through another connection, provided that req has a GetBody: nothing
// was written yet, or HTTP/2 says that it was not looked at. A header called
// Idempotency-Key would make net/http try more, as http.Transport says.
//
// With an rt of the caller's, neither the Rules nor anything that New sets hold:
// it is to heed the request's context and to follow no redirects.
//
// Err shows of the URL the host at most, and of what the receiver wrote nothing but
// the host of a redirect. Of what caused it only a *guard.Error and the errors of package
// context are found by errors.As and errors.Is.
func (c *Client) Post(ctx context.Context, req *http.Request, rt http.RoundTripper) Result {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	r := Result{Start: time.Now()}
	var w watch
	if err := c.exchange(w.onto(ctx), req, rt, &w, &r); err != nil {
		f := classify(ctx, err, &w)
		r.Class, r.Err = f.class, f
	}
	r.Duration = time.Since(r.Start)
	w.report(&r)
	return r
}

// exchange sends the request and reads the answer into r.
func (c *Client) exchange(ctx context.Context, req *http.Request, rt http.RoundTripper, w *watch, r *Result) error {
	if rt == nil {
		// The address being dialled is checked then; that the scheme is not http
		// shows here alone.
		if _, err := c.urls.Of(req.URL.String()); err != nil {
			if req.Body != nil {
				_ = req.Body.Close() // as a RoundTripper does
			}
			return err
		}
		rt = c.transport
	} else {
		ctx = ontoDial(ctx) // it has a way of its own to dial
	}
	resp, err := rt.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return err
	}
	if resp == nil || resp.Body == nil {
		return &failure{class: Protocol, text: "the RoundTripper returned neither an answer nor an error"}
	}
	w.answered()
	r.Status = resp.StatusCode
	err = c.read(resp, r)
	if failed := judge(resp, req.URL, r); failed != nil {
		return failed // whether its body arrived or not
	}
	return err
}

// read reads the body of resp, within the limits, and closes it.
func (c *Client) read(resp *http.Response, r *Result) error {
	defer resp.Body.Close() //nolint:errcheck // what was wanted of it has been read
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil // it is no body, and never ends
	}
	if resp.Body == http.NoBody {
		return nil
	}
	var err error
	r.Response, err = excerpt(resp, c.keep, c.maxRead)
	return err
}
