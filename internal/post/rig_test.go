package post_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/post"
)

const (
	// secret is in each URL that is called, and in what receivers answer: no error
	// may show it.
	secret = "hunter2"
	path   = "/" + secret + "?key=" + secret

	payload = `{"type":"invoice.paid"}`
)

// client returns one that may call this machine.
func client(t testing.TB, c post.Config) *post.Client {
	t.Helper()
	c.Rules.Development = true
	client := post.New(c)
	t.Cleanup(client.Close)
	return client
}

func request(t testing.TB, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(payload))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	return req
}

// call posts to base within limit, and checks what holds for each Result.
func call(t *testing.T, c *post.Client, base string, limit time.Duration) post.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := c.Post(ctx, request(t, base+path), nil)
	check(t, r)
	return r
}

func check(t *testing.T, r post.Result) {
	t.Helper()
	assert.Equal(t, r.Class == "", r.Err == nil)
	if r.Err != nil {
		assert.NotContains(t, r.Err.Error(), secret)
		assert.Regexp(t, `^webhook: `, r.Err.Error())
	}
	assert.NotContains(t, r.Location, secret)
	assert.False(t, r.Start.IsZero())
	for _, phase := range []time.Duration{r.DNS, r.Connect, r.TLS, r.FirstByte} {
		assert.GreaterOrEqual(t, phase, time.Duration(0))
		assert.LessOrEqual(t, phase, r.Duration)
	}
}

// Spans of tests: one that must be used up, and one that must not.
const (
	short = 150 * time.Millisecond
	long  = 20 * time.Second
)

func server(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// script serves each connection with f once its first request was read, and
// closes it then. It returns the URL.
func script(t *testing.T, f func(conn net.Conn)) string {
	t.Helper()
	return "http://" + listen(t, func(conn net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err == nil {
			f(conn)
		}
	})
}

// listen serves each connection with f, and closes it then. It returns the
// address, and the connections end with the test.
func listen(t testing.TB, f func(conn net.Conn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				f(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		cancel()
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// say answers with text and the end of the connection.
func say(t *testing.T, text string) string {
	t.Helper()
	return script(t, func(conn net.Conn) { io.WriteString(conn, text) })
}

// endless writes text again and again, until the client has gone.
func endless(conn net.Conn, head, text string, every time.Duration) {
	_, err := io.WriteString(conn, head)
	for err == nil {
		time.Sleep(every)
		_, err = io.WriteString(conn, text)
	}
}

// counting returns a handler that answers 200 and a function that says how often.
func counting(t *testing.T) (*httptest.Server, func() int) {
	t.Helper()
	calls := make(chan struct{}, 100)
	s := server(t, func(http.ResponseWriter, *http.Request) { calls <- struct{}{} })
	return s, func() int { return len(calls) }
}
