package post_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/dnstest"
	"github.com/surehook/webhook/internal/guard"
	"github.com/surehook/webhook/internal/post"
)

func TestPost_Success(t *testing.T) {
	for _, status := range []int{200, 201, 202, 204, 206, 299} {
		var got *http.Request
		var body string
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got, body = r, string(b)
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				io.WriteString(w, "thanks")
			}
		})
		r := call(t, client(t, post.Config{}), s.URL, long)
		require.NoError(t, r.Err)
		assert.Equal(t, status, r.Status)
		if status != http.StatusNoContent {
			assert.Equal(t, "thanks", string(r.Response))
		}
		assert.Equal(t, s.Listener.Addr().String(), r.Address)
		assert.Positive(t, r.Connect)
		assert.Positive(t, r.FirstByte)
		assert.Zero(t, r.TLS)

		assert.Equal(t, http.MethodPost, got.Method)
		assert.Equal(t, path, got.RequestURI)
		assert.JSONEq(t, payload, body)
		assert.Equal(t, int64(len(payload)), got.ContentLength)
		for _, header := range []string{"Cookie", "Referer", "Accept-Encoding", "Authorization", "Idempotency-Key"} {
			assert.NotContains(t, got.Header, header)
		}
	}
}

// A redirect turns a POST into a GET, its login page into a success, and takes
// the signature along.
func TestPost_RedirectsAreNotFollowed(t *testing.T) {
	other, calls := counting(t)
	_, port, _ := net.SplitHostPort(other.Listener.Addr().String())
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, test := range []struct{ name, to, location string }{
			{"to internal", "http://169.254.169.254/latest/" + secret, "169.254.169.254"},
			{"to a login page that answers 200", other.URL + path, other.Listener.Addr().String()},
			{"to another port", "http://localhost:" + port + path, "localhost:" + port},
			{"to another scheme", "file:///etc/" + secret, ""},
			{"to gopher", "gopher://127.0.0.1:6379/" + secret, "127.0.0.1:6379"},
			{"on the same host", path + secret, "self"},
			{"without scheme", "//evil.example/" + secret, "evil.example"},
			{"with userinfo", "https://u:" + secret + "@evil.example/", "evil.example"},
			{"nowhere", "", ""},
			{"malformed", "https://evil.example:" + secret, ""},
			{"odd host", "https://evil<" + secret + ">.example/", ""},
			{"huge", "https://" + strings.Repeat("a", 400) + "/", ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				s := server(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", test.to)
					w.WriteHeader(status)
					io.WriteString(w, secret)
				})
				r := call(t, client(t, post.Config{}), s.URL, long)
				assert.Equal(t, status, r.Status)
				assert.Equal(t, post.HTTP3xx, r.Class)
				location := test.location
				if location == "self" {
					location = s.Listener.Addr().String()
				}
				assert.Equal(t, location, r.Location)
				assert.ErrorContains(t, r.Err, location)
			})
		}
	}
	require.Zero(t, calls(), "a redirect was followed")
}

func TestPost_Statuses(t *testing.T) {
	for status, class := range map[int]string{
		101: post.Protocol,
		300: post.HTTP3xx, 304: post.HTTP3xx,
		400: post.HTTP4xx, 401: post.HTTP4xx, 404: post.HTTP4xx, 410: post.HTTP4xx, 429: post.HTTP4xx, 499: post.HTTP4xx,
		500: post.HTTP5xx, 502: post.HTTP5xx, 503: post.HTTP5xx, 504: post.HTTP5xx, 599: post.HTTP5xx,
		600: post.Protocol, 999: post.Protocol,
	} {
		base := script(t, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 "+strconv.Itoa(status)+" "+secret+"\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, conn) // until the client closes
		})
		r := call(t, client(t, post.Config{}), base, long)
		assert.Equal(t, status, r.Status)
		assert.Equal(t, class, r.Class, status)
		assert.ErrorContains(t, r.Err, strconv.Itoa(status))
	}
}

func TestPost_RetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time is 2000-01-01 00:00:00 UTC
		for header, want := range map[string]time.Duration{
			"":                                 0,
			"1":                                time.Second,
			"120":                              2 * time.Minute,
			"86401":                            24*time.Hour + time.Second,
			"0":                                time.Second,
			"4294967296":                       4294967296 * time.Second,
			"99999999999":                      4294967296 * time.Second,
			"99999999999999999999999999":       4294967296 * time.Second,
			"-1":                               0,
			"+1":                               0,
			"1.5":                              0,
			"1e9":                              0,
			"soon":                             0,
			"Sat, 01 Jan 2000 00:01:00 GMT":    time.Minute,
			"Saturday, 01-Jan-00 00:01:00 GMT": time.Minute,
			"Fri, 31 Dec 1999 00:00:00 GMT":    time.Second,
			"Sat, 01 Jan 2000 00:01:00":        0,
		} {
			rt := roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {header}}, Body: http.NoBody}, nil
			})
			r := client(t, post.Config{}).Post(t.Context(), request(t, "https://good.example"+path), rt)
			check(t, r)
			assert.Equal(t, want, r.RetryAfter, header)
			assert.Equal(t, post.HTTP4xx, r.Class)
		}
	})
}

// What the guard refuses is refused without a packet, by the URL or by the
// address.
func TestPost_Blocked(t *testing.T) {
	s, calls := counting(t)
	resolver := dnstest.Resolver(t, func(name string) dnstest.Answer {
		if strings.HasPrefix(name, "rebind.") {
			return dnstest.Answer{Addrs: []string{"127.0.0.1", "::1"}}
		}
		return dnstest.Answer{}
	})
	port := uint16(s.Listener.Addr().(*net.TCPAddr).Port)
	for _, test := range []struct {
		name, base, setting string
		rules               guard.Rules
	}{
		{"http", s.URL, guard.Development, guard.Rules{}},
		{"http, where https's port is open", "http://good.example:443", guard.Development, guard.Rules{}},
		{"loopback", "https://" + s.Listener.Addr().String(), guard.Development, guard.Rules{Ports: []uint16{port}}},
		{"a name that leads to loopback", "https://rebind.example.com:" + strconv.Itoa(int(port)), guard.Development, guard.Rules{Ports: []uint16{port}}},
		{"port", "https://good.example:" + strconv.Itoa(int(port)), guard.Ports, guard.Rules{}},
		{"private", "https://10.0.0.1", guard.Allow, guard.Rules{Development: true}},
		{"userinfo", "https://u:" + secret + "@good.example", "", guard.Rules{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := post.New(post.Config{Rules: test.rules})
			defer c.Close()
			c.Resolve(resolver)
			body := &closing{Reader: strings.NewReader(payload)}
			req := request(t, test.base+path)
			req.Body = body
			r := c.Post(t.Context(), req, nil)
			check(t, r)
			assert.Equal(t, post.Blocked, r.Class)
			var refusal *guard.Error
			require.ErrorAs(t, r.Err, &refusal)
			assert.Equal(t, test.setting, refusal.Setting)
			assert.EqualError(t, r.Err, "webhook: "+refusal.Error())
			assert.True(t, body.closed.Load())
		})
	}
	require.Zero(t, calls())
}

type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error {
	c.closed.Store(true)
	return nil
}

// A host of which one address is forbidden, and the other one down, is down: it
// will be back.
func TestPost_BlockedIfAllAddressesAre(t *testing.T) {
	closed := closedPort(t)
	for _, test := range []struct {
		addrs []string
		down  string
	}{
		{[]string{"127.0.0.9", "127.0.0.1"}, "127.0.0.1"}, // in this order
		{[]string{"10.0.0.1", "127.0.0.1"}, "127.0.0.1"},
		{[]string{"127.0.0.1", "fd00::1"}, "127.0.0.1"},
		{[]string{"10.0.0.1", "192.168.0.1", "fd00::1", "127.0.0.9"}, ""},
	} {
		c := client(t, post.Config{Rules: guard.Rules{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}}})
		c.Resolve(dnstest.Resolver(t, func(string) dnstest.Answer { return dnstest.Answer{Addrs: test.addrs} }))
		r := call(t, c, "http://both.example:"+closed, long)
		if test.down == "" {
			assert.Equal(t, post.Blocked, r.Class, "%v: %v", test.addrs, r.Err)
			continue
		}
		assert.Equal(t, post.Refused, r.Class, "%v: %v", test.addrs, r.Err)
		assert.Equal(t, net.JoinHostPort(test.down, closed), r.Address)
		assert.ErrorContains(t, r.Err, r.Address)
	}
}

// The environment leads no call past the guard.
func TestPost_NoProxyFromTheEnvironment(t *testing.T) {
	proxy, proxied := counting(t)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	probe, err := http.ProxyFromEnvironment(httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://hooks.example/", nil))
	require.NoError(t, err)
	require.NotNil(t, probe, "the environment was read before: this test looks at nothing")

	s, calls := counting(t)
	c := client(t, post.Config{})
	c.Resolve(dnstest.Resolver(t, func(string) dnstest.Answer { return dnstest.Answer{Addrs: []string{"127.0.0.1"}} }))
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	// Not by its address: proxies are not used for loopback.
	require.NoError(t, call(t, c, "http://hooks.example:"+port, long).Err)
	require.Equal(t, 1, calls())
	require.Zero(t, proxied())
}

func TestPost_Lookup(t *testing.T) {
	c := client(t, post.Config{})
	c.Resolve(dnstest.Resolver(t, func(string) dnstest.Answer { return dnstest.Answer{} }))
	r := call(t, c, "http://mistyped.example/"+secret, long)
	assert.Equal(t, post.DNS, r.Class)
	assert.EqualError(t, r.Err, "webhook: mistyped.example: no such host")
	assert.Positive(t, r.DNS)

	c.Resolve(&net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New(secret)
	}})
	r = call(t, c, "http://good.example", long)
	assert.Equal(t, post.DNS, r.Class)
	assert.ErrorContains(t, r.Err, "good.example: ")

	c.Resolve(&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	r = call(t, c, "http://good.example", short)
	assert.Equal(t, post.Timeout, r.Class)
	assert.ErrorContains(t, r.Err, "looking up the host")
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	l.Close()
	return port
}

func TestPost_Refused(t *testing.T) {
	address := "127.0.0.1:" + closedPort(t)
	r := call(t, client(t, post.Config{}), "http://"+address, long)
	assert.Equal(t, post.Refused, r.Class)
	assert.Equal(t, address, r.Address)
	assert.ErrorContains(t, r.Err, address)
}

func TestPost_Canceled(t *testing.T) {
	arrived := make(chan struct{})
	s := server(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	r := client(t, post.Config{}).Post(ctx, request(t, s.URL+path), nil)
	check(t, r)
	assert.Equal(t, post.Canceled, r.Class)
	assert.ErrorIs(t, r.Err, context.Canceled)
}

// Dials of Happy Eyeballs report from several goroutines.
func TestPost_ManyAddressesAtOnce(t *testing.T) {
	s, calls := counting(t)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	resolver := dnstest.Resolver(t, func(string) dnstest.Answer {
		return dnstest.Answer{Addrs: []string{"::1", "fd00::1", "127.0.0.2", "127.0.0.1", "10.0.0.1"}}
	})
	var calling sync.WaitGroup
	for range 20 {
		calling.Go(func() {
			c := post.New(post.Config{Rules: guard.Rules{Development: true}})
			defer c.Close()
			c.Resolve(resolver)
			r := call(t, c, "http://many.example:"+port, long)
			assert.NoError(t, r.Err)
			assert.Equal(t, s.Listener.Addr().String(), r.Address)
			assert.Positive(t, r.DNS)
			assert.Positive(t, r.Connect)
		})
	}
	calling.Wait()
	require.Equal(t, 20, calls())
}

func TestAddressOf(t *testing.T) {
	for _, addr := range []net.Addr{
		&net.TCPAddr{IP: net.IP{192, 0, 2, 1}, Port: 443},
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 65535}, // of a socket of IPv6
		&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 8443},
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 80, Zone: "eth0"},
		&net.TCPAddr{IP: net.IPv6zero},
		&net.TCPAddr{Port: 80},
		(*net.TCPAddr)(nil),
		&net.UnixAddr{Name: "/run/proxy", Net: "unix"},
	} {
		assert.Equal(t, addr.String(), post.AddressOf(addr))
	}
}

// A receiver's thinking time is seen as such, and not as its network's.
func TestPost_Phases(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(short)
		w.(http.Flusher).Flush()
		time.Sleep(short)
	})
	c := client(t, post.Config{})
	c.Resolve(dnstest.Resolver(t, func(string) dnstest.Answer { return dnstest.Answer{Addrs: []string{"127.0.0.1"}} }))
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for reused := range 2 {
		r := call(t, c, "http://slow.example:"+port, long)
		require.NoError(t, r.Err)
		assert.GreaterOrEqual(t, r.FirstByte, short)
		assert.GreaterOrEqual(t, r.Duration-r.FirstByte, short/2)
		assert.Less(t, r.Connect, r.FirstByte)
		assert.Equal(t, reused == 0, r.DNS > 0)
		assert.Equal(t, reused == 0, r.Connect > 0)
	}
}

// A call that waits for a dial and is given a connection that became free has
// nothing of that dial in its phases.
func TestPost_PhasesOfAConnectionThatBecameFree(t *testing.T) {
	arrived, answer := make(chan struct{}, 2), make(chan struct{})
	s := server(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-answer
	})
	var lookups atomic.Int32
	dialling, forever := make(chan struct{}), make(chan struct{})
	defer close(forever)
	resolver := dnstest.Resolver(t, func(string) dnstest.Answer {
		if lookups.Add(1) > 2 { // A and AAAA of the first
			if lookups.Load() == 3 {
				close(dialling)
			}
			<-forever
		}
		return dnstest.Answer{Addrs: []string{"127.0.0.1"}}
	})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := client(t, post.Config{})
	c.Resolve(resolver)
	var calling sync.WaitGroup
	calling.Go(func() { assert.NoError(t, call(t, c, "http://busy.example.com:"+port, long).Err) })
	<-arrived
	calling.Go(func() {
		r := call(t, c, "http://busy.example.com:"+port, long)
		assert.NoError(t, r.Err)
		assert.Zero(t, r.DNS)
		assert.Zero(t, r.Connect)
		assert.Equal(t, s.Listener.Addr().String(), r.Address)
	})
	<-dialling
	close(answer)
	calling.Wait()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// hanging is a body that ends with its context.
type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

func (hanging) Close() error { return nil }

func TestPost_RoundTripperOfOnesOwn(t *testing.T) {
	for _, test := range []struct {
		name  string
		rt    roundTripper
		class string
		after time.Duration
	}{
		{"answers", func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(secret))}, nil
		}, "", 0},
		{"hangs", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: r.Context().Err()}
		}, post.Timeout, time.Minute},
		{"body hangs", func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: hanging{r.Context()}}, nil
		}, post.Timeout, time.Minute},
		{"body of a failure hangs", func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 410, Body: hanging{r.Context()}}, nil
		}, post.HTTP4xx, time.Minute},
		{"quotes the URL", func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: errors.New("token refused: " + secret)}
		}, post.Protocol, 0},
		{"quotes and times out", func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: &net.OpError{Op: "read", Err: timeoutError{}}}
		}, post.Timeout, 0},
		{"returns nothing", func(*http.Request) (*http.Response, error) { return nil, nil }, post.Protocol, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c := post.New(post.Config{}) // its Rules are not asked
				r := c.Post(ctx, request(t, "http://10.0.0.1:1"+path), test.rt)
				check(t, r)
				assert.Equal(t, test.class, r.Class)
				assert.Equal(t, test.after, r.Duration)
			})
		})
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return secret }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// A context without deadline has one.
func TestPost_NeverEndless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := post.New(post.Config{}).Post(t.Context(), request(t, "https://good.example"), roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		assert.Equal(t, post.Timeout, r.Class)
		assert.ErrorIs(t, r.Err, context.DeadlineExceeded)
		assert.Equal(t, post.DefaultTimeout, r.Duration)
	})
}
