package post_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/post"
)

// The deadline covers all of a call, up to the last byte.
func TestPost_Timeout(t *testing.T) {
	hang := func(conn net.Conn) { io.Copy(io.Discard, conn) }
	for _, test := range []struct {
		name, base, while string
		status            int
	}{
		{"no answer", script(t, hang), "waiting for the answer", 0},
		{"status line alone", script(t, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			hang(conn)
		}), "waiting for the answer", 0},
		{"headers drip", script(t, func(conn net.Conn) {
			endless(conn, "HTTP/1.1 200 OK\r\nX-A: ", "a", 10*time.Millisecond)
		}), "waiting for the answer", 0},
		{"no body", script(t, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
			hang(conn)
		}), "reading the answer", 200},
		{"body drips", script(t, func(conn net.Conn) {
			endless(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "a", 10*time.Millisecond)
		}), "reading the answer", 200},
		{"chunks drip", script(t, func(conn net.Conn) {
			endless(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", 10*time.Millisecond)
		}), "reading the answer", 200},
		{"one 1xx after the other", script(t, func(conn net.Conn) {
			endless(conn, "", "HTTP/1.1 103 Early Hints\r\n\r\n", 10*time.Millisecond)
		}), "waiting for the answer", 0},
		{"no handshake", "https://" + listen(t, hang), "shaking hands in TLS", 0},
		{"request is not read", "http://" + listen(t, func(net.Conn) { time.Sleep(2 * short) }), "waiting for the answer", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := call(t, client(t, post.Config{}), test.base, short)
			assert.Equal(t, post.Timeout, r.Class)
			assert.ErrorContains(t, r.Err, "timeout while "+test.while)
			assert.Equal(t, test.status, r.Status)
			assert.Greater(t, r.Duration, short/2)
			assert.NotEmpty(t, r.Address)
		})
	}
}

// A failure stays what its status says, whatever comes of its body.
func TestPost_BodyOfAFailure(t *testing.T) {
	for name, rest := range map[string]func(net.Conn){
		"drips": func(conn net.Conn) { endless(conn, "", "a", 10*time.Millisecond) },
		"ends":  func(net.Conn) {},
		"reset": reset,
	} {
		base := script(t, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 410 Gone\r\nContent-Length: 1000000\r\n\r\nbye")
			rest(conn)
		})
		r := call(t, client(t, post.Config{}), base, short)
		assert.Equal(t, post.HTTP4xx, r.Class, name)
		assert.Equal(t, 410, r.Status, name)
	}
}

// reset ends a connection without the usual farewell.
func reset(conn net.Conn) { conn.(*net.TCPConn).SetLinger(0) }

func TestPost_ConnectionEnds(t *testing.T) {
	for _, test := range []struct{ name, base, class string }{
		{"reset before the answer", script(t, reset), post.Reset},
		{"reset before the request is read", "http://" + listen(t, reset), post.Reset},
		{"closed before the answer", script(t, func(net.Conn) {}), post.Reset},
		{"closed in the headers", say(t, "HTTP/1.1 200 OK\r\nX-Key: "+secret), post.Reset},
		{"closed in the body", say(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+secret), post.Reset},
		{"closed in a chunk", say(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n"+secret), post.Reset},
		{"reset in the body", script(t, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+secret)
			time.Sleep(short / 2) // a reset overtakes what was not read
			reset(conn)
		}), post.Reset},
		{"no HTTP", say(t, secret+"\r\n\r\n"), post.Protocol},
		{"SMTP", say(t, "220 mail.example ESMTP "+secret+"\r\n"), post.Protocol},
		{"odd status", say(t, "HTTP/1.1 2"+secret+" OK\r\n\r\n"), post.Protocol},
		{"odd version", say(t, "HTTP/"+secret+" 200 OK\r\n\r\n"), post.Protocol},
		{"odd header", say(t, "HTTP/1.1 200 OK\r\n"+secret+"\r\n\r\n"), post.Protocol},
		{"odd length", say(t, "HTTP/1.1 200 OK\r\nContent-Length: "+secret+"\r\n\r\n"), post.Protocol},
		{"odd encoding", say(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+secret+"\r\n\r\n"), post.Protocol},
		{"odd chunks", say(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+secret+"\r\n"), post.Protocol},
		{"two lengths", say(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), post.Protocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := call(t, client(t, post.Config{}), test.base, long)
			assert.Equal(t, test.class, r.Class, "%v", r.Err)
			assert.Less(t, r.Duration, long)
		})
	}
}

// Headers are bounded, with those of the answers before the answer.
func TestPost_Headers(t *testing.T) {
	early := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	for _, test := range []struct {
		name, base, class string
	}{
		{"endless header", script(t, func(conn net.Conn) {
			endless(conn, "HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("a", 4096), 0)
		}), post.Protocol},
		{"endless headers", script(t, func(conn net.Conn) {
			endless(conn, "HTTP/1.1 200 OK\r\n", strings.Repeat("X-A: a\r\n", 500), 0)
		}), post.Protocol},
		{"huge header", say(t, "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("a", 100<<10)+"\r\n\r\n"), post.Protocol},
		{"large header", say(t, "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("a", 32<<10)+"\r\nContent-Length: 0\r\n\r\n"), ""},
		{"endless 1xx", script(t, func(conn net.Conn) { endless(conn, "", strings.Repeat(early, 100), 0) }), post.Protocol},
		{"100 × 1xx", say(t, strings.Repeat(early, 100)+"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := call(t, client(t, post.Config{}), test.base, long)
			assert.Equal(t, test.class, r.Class, "%v", r.Err)
			assert.Less(t, r.Duration, long)
		})
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	require.NoError(t, err)
	_, err = z.Write(b)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

// What is read is bounded after it was inflated, and before.
func TestPost_Body(t *testing.T) {
	const maxRead, keep = 64 << 10, 4 << 10
	noise := bytes.Repeat([]byte("0123456789abcdef"), maxRead/16)
	bomb := zipped(t, make([]byte, 10<<20))
	empty := zipped(t, nil)
	isGzip := http.Header{"Content-Encoding": {"gzip"}}
	for _, test := range []struct {
		name   string
		header http.Header
		body   []byte
		times  int // that body is written; 0: once, negative: until the client has gone
		want   []byte
		atMost int64 // bytes that the server can get rid of; the socket's buffers included
	}{
		{"none", nil, nil, 0, nil, 0},
		{"small", nil, []byte("thanks"), 0, []byte("thanks"), 0},
		{"as much as is kept", nil, noise[:keep], 0, noise[:keep], 0},
		{"as much as is read", nil, noise, 0, noise[:keep], 0},
		{"larger", nil, noise, 2, noise[:keep], 0},
		{"1 GB", nil, noise, -1, noise[:keep], 100 << 20},
		{"compressed", isGzip, zipped(t, []byte("thanks")), 0, []byte("thanks"), 0},
		{"x-gzip", http.Header{"Content-Encoding": {"X-GZip"}}, zipped(t, []byte("thanks")), 0, []byte("thanks"), 0},
		{"compressed, larger", isGzip, zipped(t, noise), 0, noise[:keep], 0},
		{"gzip bomb", isGzip, bomb, 0, make([]byte, keep), 0},
		{"empty gzip, endless", isGzip, empty, -1, nil, 100 << 20},
		{"says gzip and is not", isGzip, []byte("thanks"), 0, []byte("thanks"), 0},
		{"says gzip and has none", isGzip, nil, 0, nil, 0},
		{"broken gzip", isGzip, append(zipped(t, []byte("thanks"))[:18], noise[:100]...), 0, nil, 0},
		{"cut gzip", isGzip, zipped(t, noise)[:60], 0, nil, 0},
		{"other encoding", http.Header{"Content-Encoding": {"br"}}, []byte("br"), 0, []byte("br"), 0},
		{"compressed and does not say so", nil, empty, 0, empty, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var wrote atomic.Int64
			done := make(chan struct{})
			s := server(t, func(w http.ResponseWriter, _ *http.Request) {
				defer close(done)
				for name := range test.header {
					w.Header()[name] = test.header[name]
				}
				for i := 0; i != max(test.times, 1) || test.times < 0; i++ {
					n, err := w.Write(test.body)
					wrote.Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			r := call(t, client(t, post.Config{}), s.URL, long)
			require.NoError(t, r.Err)
			if !strings.HasPrefix(test.name, "broken") && !strings.HasPrefix(test.name, "cut") {
				assert.Equal(t, test.want, r.Response)
			}
			assert.LessOrEqual(t, len(r.Response), keep)
			<-done // it was not left hanging
			if test.atMost > 0 {
				assert.Less(t, wrote.Load(), test.atMost)
			}
		})
	}
}

// Never-ending chunks are a success, as far as they were read.
func TestPost_EndlessChunks(t *testing.T) {
	base := script(t, func(conn net.Conn) {
		endless(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "400\r\n"+strings.Repeat("a", 0x400)+"\r\n", 0)
	})
	r := call(t, client(t, post.Config{}), base, long)
	require.NoError(t, r.Err)
	assert.Equal(t, strings.Repeat("a", 4<<10), string(r.Response))
}

func TestPost_Limits(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("a", 100)) })
	for _, test := range []struct {
		c    post.Config
		kept int
	}{
		{post.Config{}, 100},
		{post.Config{Keep: 10}, 10},
		{post.Config{Keep: -1}, 0},
		{post.Config{MaxRead: 50}, 50},
		{post.Config{MaxRead: 50, Keep: 20}, 20},
		{post.Config{MaxRead: -1, Keep: 1 << 20}, 100},
	} {
		r := call(t, client(t, test.c), s.URL, long)
		require.NoError(t, r.Err)
		assert.Len(t, r.Response, test.kept)
	}
}

// Calls of a host share its connection, whatever the answers were, as long as
// they end within the limit.
func TestPost_ConnectionsAreUsedAgain(t *testing.T) {
	noise := strings.Repeat("a", 64<<10)
	bomb := zipped(t, make([]byte, 10<<20)) // as it comes it is within the limit
	require.Less(t, len(bomb), 64<<10)
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		conns  int
	}{
		{"200", func(http.ResponseWriter) {}, 1},
		{"200 with a body", func(w http.ResponseWriter) { io.WriteString(w, "thanks") }, 1},
		{"as much as is read", func(w http.ResponseWriter) { io.WriteString(w, noise) }, 1},
		{"500 with a body", func(w http.ResponseWriter) {
			w.WriteHeader(500)
			io.WriteString(w, noise[:10000])
		}, 1},
		{"302", func(w http.ResponseWriter) {
			w.Header().Set("Location", "/login")
			w.WriteHeader(302)
			io.WriteString(w, "moved")
		}, 1},
		{"gzip", func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped(t, []byte("thanks")))
		}, 1},
		{"broken gzip", func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(append(zipped(t, []byte("thanks"))[:18], noise[:10000]...))
		}, 1},
		{"gzip bomb", func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb)
		}, 10},
		{"larger than is read", func(w http.ResponseWriter) { io.WriteString(w, noise+noise) }, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			conns := map[string]bool{}
			s := server(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				conns[r.RemoteAddr] = true
				mu.Unlock()
				test.answer(w)
			})
			c := client(t, post.Config{})
			for i := range 10 {
				r := call(t, c, s.URL, long)
				if i > 0 && test.conns == 1 {
					assert.Zero(t, r.Connect, "of a connection that was there")
					assert.Equal(t, s.Listener.Addr().String(), r.Address)
				}
			}
			assert.Len(t, conns, test.conns)
		})
	}
}

// One call is one request: a connection that the receiver resets does not make
// the transport try again by itself.
func TestPost_OneRequest(t *testing.T) {
	var requests atomic.Int32
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) > 1 {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				reset(conn)
				conn.Close()
			}
		}
	})
	c := client(t, post.Config{})
	require.NoError(t, call(t, c, s.URL, long).Err)
	r := call(t, c, s.URL, long)
	assert.Equal(t, post.Reset, r.Class, "%v", r.Err)
	assert.EqualValues(t, 2, requests.Load())
}
