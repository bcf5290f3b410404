package webhooktest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/webhooktest"
)

// way is how a client may reach a Receiver.
type way struct {
	name string
	to   func(r *webhooktest.Receiver) (*http.Client, string)
}

// ways are all there are: a fault is the same by each.
var ways = []way{
	{"round trip", func(r *webhooktest.Receiver) (*http.Client, string) {
		return &http.Client{Transport: r}, "https://receiver.example/hooks?x=%31"
	}},
	{"server", func(r *webhooktest.Receiver) (*http.Client, string) {
		return &http.Client{Transport: &http.Transport{}}, r.URL() + "/hooks?x=%31"
	}},
	{"TLS server", func(r *webhooktest.Receiver) (*http.Client, string) {
		return r.Client(), r.TLSURL() + "/hooks?x=%31"
	}},
}

// each runs f as a subtest for each way to a receiver with the script.
func each(t *testing.T, f func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string), script ...webhooktest.Fault) {
	t.Helper()
	eachOf(t, ways, f, script...)
}

func eachOf(t *testing.T, ways []way, f func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string), script ...webhooktest.Fault) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			r := webhooktest.NewReceiver(t, script...)
			c, url := w.to(r)
			c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			defer c.CloseIdleConnections()
			f(t, r, c, url)
		})
	}
}

func TestReceiver_Answers(t *testing.T) {
	each(t, func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
		for i, want := range []struct {
			status int
			header string
			value  string
		}{
			{status: 500},
			{status: 429, header: "Retry-After", value: "2"},
			{307, "Location", "http://169.254.169.254/"},
			{status: 410},
			{status: 200},
			{status: 200}, // after the last fault
		} {
			got, err := post(t, c, url, "")
			require.NoError(t, err)
			require.Equal(t, want.status, got.status)
			require.Empty(t, got.body)
			if want.header != "" {
				require.Equal(t, want.value, got.header.Get(want.header))
			}
			require.Equal(t, want.status, r.Requests()[i].Status)
		}
		require.Len(t, r.Requests(), 6)
	},
		webhooktest.Status(500), webhooktest.RetryAfter(429, 1001*time.Millisecond),
		webhooktest.Redirect(307, "http://169.254.169.254/"), webhooktest.Gone(), webhooktest.Fault{})
}

func TestReceiver_Records(t *testing.T) {
	each(t, func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("body"))
		require.NoError(t, err)
		req.Header.Set("Webhook-Id", "msg_1")
		before := time.Now()
		_, err = do(c, req)
		require.NoError(t, err)

		require.Len(t, r.Requests(), 1)
		got := r.Requests()[0]
		require.Equal(t, http.MethodPut, got.Method)
		require.Equal(t, url, got.URL.String())
		require.Equal(t, "msg_1", got.Header.Get("Webhook-Id"))
		require.Equal(t, "body", string(got.Body))
		require.Equal(t, http.StatusOK, got.Status)
		require.WithinRange(t, got.Time, before, time.Now())

		req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		require.NoError(t, err)
		_, err = do(c, req)
		require.NoError(t, err)
		require.Empty(t, r.Requests()[1].Body)
		require.Equal(t, http.MethodGet, r.Requests()[1].Method)
	})
}

// A client that follows a redirect is seen to do so.
func TestReceiver_SeesRedirectsFollowed(t *testing.T) {
	each(t, func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
		c.CheckRedirect = nil
		_, err := post(t, c, url, "body")
		require.NoError(t, err)
		require.Len(t, r.Requests(), 2)
		require.Equal(t, http.MethodGet, r.Requests()[1].Method)
		require.Equal(t, "/elsewhere", r.Requests()[1].URL.Path)
	}, webhooktest.Redirect(302, "/elsewhere"))
}

func TestReceiver_Hangs(t *testing.T) {
	each(t, func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
		leave(t, r, c, url)
		require.Zero(t, r.Requests()[0].Status)
		require.Equal(t, "body", string(r.Requests()[0].Body))
	}, webhooktest.Hang())
}

// leave sends a request by c, and leaves when it has come and nothing was answered.
func leave(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := len(r.Requests())
	go func() {
		for len(r.Requests()) == n && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("body"))
	require.NoError(t, err)
	_, err = do(c, req)
	require.ErrorIs(t, err, context.Canceled)
}

func TestReceiver_Resets(t *testing.T) {
	each(t, func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
		_, err := post(t, c, url, "body")
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Zero(t, r.Requests()[0].Status)
		_, err = post(t, c, url, "body")
		require.NoError(t, err)
	}, webhooktest.Reset())
}

func TestReceiver_IsSlow(t *testing.T) {
	each(t, func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
		begin := time.Now()
		got, err := post(t, c, url, "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, got.status)
		require.GreaterOrEqual(t, time.Since(begin), 20*time.Millisecond)

		leave(t, r, c, url)
		require.Zero(t, r.Requests()[1].Status)
	}, webhooktest.Slow(20*time.Millisecond), webhooktest.Slow(time.Hour))
}

func TestReceiver_Drips(t *testing.T) {
	each(t, func(t *testing.T, _ *webhooktest.Receiver, c *http.Client, url string) {
		begin := time.Now()
		got, err := post(t, c, url, "")
		require.NoError(t, err)
		require.Equal(t, "xxx", string(got.body))
		require.GreaterOrEqual(t, time.Since(begin), 30*time.Millisecond)

		for range 2 { // for long, and for ever
			ctx, leave := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
			require.NoError(t, err)
			res, err := c.Do(req)
			require.NoError(t, err, "the header does not wait for the body")
			leave()
			_, err = io.ReadAll(res.Body)
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, res.Body.Close())
		}
	}, webhooktest.Drip(10*time.Millisecond, 3), webhooktest.Drip(time.Hour, 3), webhooktest.Drip(time.Microsecond, 0))
}

func TestReceiver_IsHuge(t *testing.T) {
	const n = 5<<20 + 3
	each(t, func(t *testing.T, _ *webhooktest.Receiver, c *http.Client, url string) {
		got, err := post(t, c, url, "")
		require.NoError(t, err)
		require.Len(t, got.body, n)
		require.EqualValues(t, -1, got.length)
		got, err = post(t, c, url, "") // inflated by the transport
		require.NoError(t, err)
		require.Len(t, got.body, n)
		require.True(t, got.inflated)
		require.Empty(t, got.header.Get("Content-Encoding"))
		require.EqualValues(t, -1, got.length)
	}, webhooktest.Huge(n), webhooktest.Compressed(n))
}

// A client that asks for an encoding inflates it itself.
func TestReceiver_Compressed(t *testing.T) {
	const n = 5<<20 + 3
	each(t, func(t *testing.T, _ *webhooktest.Receiver, c *http.Client, url string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Accept-Encoding", "identity")
		got, err := do(c, req)
		require.NoError(t, err)
		require.Equal(t, "gzip", got.header.Get("Content-Encoding"))
		require.Less(t, len(got.body), n/500)
		inflated, err := gzip.NewReader(bytes.NewReader(got.body))
		require.NoError(t, err)
		body, err := io.ReadAll(inflated)
		require.NoError(t, err)
		require.Len(t, body, n)
	}, webhooktest.Compressed(n))
}

func TestReceiver_WrongCertificate(t *testing.T) {
	script := []webhooktest.Fault{
		webhooktest.Status(500), webhooktest.WrongCertificate(), webhooktest.WrongCertificate(), webhooktest.Status(503),
	}
	certified := slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return w.name == "server" })
	eachOf(t, certified, func(t *testing.T, r *webhooktest.Receiver, c *http.Client, url string) {
		got, err := post(t, c, url, "")
		require.NoError(t, err)
		require.Equal(t, 500, got.status)
		for range 2 {
			_, err = post(t, c, url, "")
			var host x509.HostnameError
			require.ErrorAs(t, err, &host)
			require.Equal(t, []string{"stranger.invalid"}, host.Certificate.DNSNames)
		}
		require.Len(t, r.Requests(), 1, "nothing was sent")
		got, err = post(t, c, url, "")
		require.NoError(t, err)
		require.Equal(t, 503, got.status)
	}, script...)
}

// Who does not mind a wrong certificate is seen, since his request comes.
func TestReceiver_WrongCertificateIsAccepted(t *testing.T) {
	r := webhooktest.NewReceiver(t, webhooktest.WrongCertificate())
	url := r.TLSURL()
	transport := r.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true
	defer transport.CloseIdleConnections()
	_, err := post(t, &http.Client{Transport: transport}, url, "")
	require.NoError(t, err)
	require.Len(t, r.Requests(), 1)
}

// A script that asks for a certificate where none is shown fails the test.
func TestReceiver_NoCertificateToBeWrong(t *testing.T) {
	for name, client := range map[string]func(r *webhooktest.Receiver) (*http.Client, string){
		"round trip": func(r *webhooktest.Receiver) (*http.Client, string) { return &http.Client{Transport: r}, "http://x/" },
		"server":     func(r *webhooktest.Receiver) (*http.Client, string) { return &http.Client{}, r.URL() },
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			said := judge(t, func(t testing.TB) {
				r := webhooktest.NewReceiver(t, webhooktest.WrongCertificate())
				c, url := client(r)
				_, err = post(t, c, url, "")
			})
			require.Error(t, err)
			require.Contains(t, said, "WrongCertificate is next in the script")
		})
	}
}

// Under synctest a Receiver hangs, drips and delays in no time, and fails the
// test that asks for its URL.
func TestReceiver_InFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := webhooktest.NewReceiver(t, webhooktest.Hang(), webhooktest.Slow(time.Hour), webhooktest.Drip(time.Minute, 60), webhooktest.Drip(time.Minute, 0))
		c := &http.Client{Transport: r, Timeout: 2 * time.Hour}
		begin := time.Now()
		for _, want := range []struct {
			by  time.Duration
			err error
		}{{2 * time.Hour, context.DeadlineExceeded}, {3 * time.Hour, nil}, {4 * time.Hour, nil}, {6 * time.Hour, context.DeadlineExceeded}} {
			_, err := post(t, c, "https://receiver.example", "")
			require.ErrorIs(t, err, want.err)
			require.Equal(t, want.by, time.Since(begin))
		}
		for _, socket := range []func(r *webhooktest.Receiver){
			func(r *webhooktest.Receiver) { r.URL() },
			func(r *webhooktest.Receiver) { r.TLSURL() },
			func(r *webhooktest.Receiver) { r.Client() },
		} {
			said := judge(t, func(t testing.TB) { socket(webhooktest.NewReceiver(t)) })
			require.Contains(t, said, "a Receiver has no URL under testing/synctest")
		}
	})
}

// A client that leaves before it sends is not recorded, and takes no fault.
func TestReceiver_AClientThatLeft(t *testing.T) {
	r := webhooktest.NewReceiver(t, webhooktest.Status(500))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	body := &closes{Reader: strings.NewReader("body")}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://receiver.example", body)
	require.NoError(t, err)
	_, err = do(&http.Client{Transport: r}, req)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, body.closed, "as http.RoundTripper says")
	require.Empty(t, r.Requests())
	got, err := post(t, &http.Client{Transport: r}, "https://receiver.example", "")
	require.NoError(t, err)
	require.Equal(t, 500, got.status)

	broken := io.NopCloser(io.MultiReader(strings.NewReader("bo"), errReader{}))
	req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "https://receiver.example", broken)
	require.NoError(t, err)
	_, err = do(&http.Client{Transport: r}, req)
	require.ErrorIs(t, err, errBroken)
}

type closes struct {
	io.Reader
	closed bool
}

func (c *closes) Close() error {
	c.closed = true
	return nil
}

var errBroken = errors.New("broken")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

// The servers end with the test, whatever hangs in them.
func TestReceiver_EndsWithItsTest(t *testing.T) {
	ended := make(chan error, 1)
	var url string
	said := judge(t, func(t testing.TB) {
		r := webhooktest.NewReceiver(t, webhooktest.Hang())
		url = r.URL()
		require.Equal(t, url, r.URL())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
		require.NoError(t, err)
		go func() {
			_, err := do(http.DefaultClient, req)
			ended <- err
		}()
		for len(r.Requests()) == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	require.Empty(t, said)
	require.Error(t, <-ended)
	_, err := post(t, http.DefaultClient, url, "")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestFault_Panics(t *testing.T) {
	for name, make := range map[string]func(){
		"Status: code 99 is not within 200 and 599":      func() { webhooktest.Status(99) },
		"Status: code 600 is not within 200 and 599":     func() { webhooktest.Status(600) },
		"RetryAfter: code 100 is not within 200 and 599": func() { webhooktest.RetryAfter(100, 0) },
		"RetryAfter: -1s is negative":                    func() { webhooktest.RetryAfter(429, -time.Second) },
		"Redirect: code 200 is not within 300 and 399":   func() { webhooktest.Redirect(200, "/") },
	} {
		require.PanicsWithValue(t, "webhooktest: "+name, make)
	}
}

// signedBy sends an event of Standard Webhooks to a receiver.
func signedBy(t testing.TB, r *webhooktest.Receiver, v webhook.Verifier, id string) {
	t.Helper()
	req := webhooktest.Request(t, v, "https://receiver.example/hooks", webhook.Event{ID: id, Body: []byte(`{"type":"paid"}`)})
	_, _ = do(&http.Client{Transport: r, Timeout: time.Second}, req) // what came of it the receiver tells
}

func TestReceiver_RequireSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := webhook.Must(provider.StandardWebhooks(whsec))
		r := webhooktest.NewReceiver(t, webhooktest.Hang())
		signedBy(t, r, v, "msg_1")
		time.Sleep(time.Hour) // it is the time of the request that counts
		signedBy(t, r, v, "msg_1")
		signedBy(t, r, v, "msg_2")
		events := r.RequireSigned(t, v)
		require.Len(t, events, 3)
		for i, id := range []string{"msg_1", "msg_1", "msg_2"} {
			require.Equal(t, id, events[i].ID)
			require.Equal(t, "paid", events[i].Type)
		}

		other := webhook.Must(provider.StandardWebhooks(signature.NewSecret()))
		said := judge(t, func(t testing.TB) { r.RequireSigned(t, other) })
		require.Contains(t, said, "webhooktest: request 1 of 3, POST https://receiver.example/hooks: webhook: no signature fits")
		said = judge(t, func(t testing.TB) { webhooktest.NewReceiver(t).RequireSigned(t, v) })
		require.Contains(t, said, "no request came")

		_, err := post(t, &http.Client{Transport: r}, "https://receiver.example", "unsigned")
		require.NoError(t, err)
		said = judge(t, func(t testing.TB) { r.RequireSigned(t, v) })
		require.Contains(t, said, "request 4 of 4")
	})
}

// One request that is stale when it comes is no good one.
func TestReceiver_RequireSignedMindsTheTime(t *testing.T) {
	v := webhook.Must(provider.StandardWebhooks(whsec))
	r := webhooktest.NewReceiver(t)
	req := webhooktest.RequestAt(t, v, "https://receiver.example", webhook.Event{ID: "1"}, time.Now().Add(-time.Hour))
	_, err := do(&http.Client{Transport: r}, req)
	require.NoError(t, err)
	said := judge(t, func(t testing.TB) { r.RequireSigned(t, v) })
	require.Contains(t, said, "webhook: stale")
}

// A handshake is signed, and is no event.
func TestReceiver_RequireSignedTakesHandshakes(t *testing.T) {
	v := webhook.Must(provider.Slack("8f742231b10e8888abcd99baac0785a5"))
	r := webhooktest.NewReceiver(t)
	req := webhooktest.Request(t, v, "https://receiver.example", webhook.Event{Body: []byte(`{"type":"url_verification","challenge":"x"}`)})
	_, err := do(&http.Client{Transport: r}, req)
	require.NoError(t, err)
	require.Empty(t, r.RequireSigned(t, v))
}

func TestReceiver_RequireOnce(t *testing.T) {
	v := webhook.Must(provider.StandardWebhooks(whsec))
	for name, c := range map[string]struct {
		script []webhooktest.Fault
		sent   []string
		says   string
	}{
		"each once":            {nil, []string{"1", "2"}, ""},
		"a retry":              {[]webhooktest.Fault{webhooktest.Status(500), webhooktest.Redirect(301, ""), webhooktest.Reset()}, []string{"1", "1", "1", "1"}, ""},
		"twice":                {[]webhooktest.Fault{webhooktest.Status(204)}, []string{"1", "2", "1"}, `event "1" came 2 times and was accepted 2 times, want once`},
		"given up":             {[]webhooktest.Fault{webhooktest.Status(503), webhooktest.Status(503)}, []string{"1", "1", "2"}, `event "1" came 2 times and was accepted 0 times`},
		"a new id for a retry": {[]webhooktest.Fault{webhooktest.Status(503)}, []string{"1", "2"}, `event "1" came 1 times and was accepted 0 times`},
		"none":                 {nil, nil, "no request came"},
	} {
		t.Run(name, func(t *testing.T) {
			r := webhooktest.NewReceiver(t, c.script...)
			for _, id := range c.sent {
				signedBy(t, r, v, id)
			}
			said := judge(t, func(t testing.TB) { r.RequireOnce(t, v) })
			if c.says == "" {
				require.Empty(t, said)
			} else {
				require.Contains(t, said, c.says)
			}
		})
	}
}
