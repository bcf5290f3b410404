package post_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/post"
)

// quiet is the log of servers whose clients leave early.
var quiet = log.New(io.Discard, "", 0)

func TestPost_HTTP2(t *testing.T) {
	certificate, pool := issue(t, func(*x509.Certificate) {})
	var mu sync.Mutex
	conns := map[string]int{}
	s := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.Proto+" "+r.RemoteAddr]++
		mu.Unlock()
		switch r.Header.Get("Do") {
		case "abort":
			panic(http.ErrAbortHandler)
		case "header":
			w.Header().Set("X-A", strings.Repeat("a", 100<<10))
		case "larger":
			io.WriteString(w, strings.Repeat("a", 1<<20))
		}
	})
	c := client(t, post.Config{})
	c.Trust(pool)
	do := func(what string) post.Result {
		req := request(t, s.URL+path)
		req.Header.Set("Do", what)
		r := c.Post(t.Context(), req, nil)
		check(t, r)
		return r
	}
	for range 5 {
		require.NoError(t, do("nothing").Err)
	}
	assert.Equal(t, post.Reset, do("abort").Class)
	assert.Empty(t, do("larger").Class)
	assert.Empty(t, do("nothing").Class)
	require.Len(t, conns, 1, "one connection")
	for conn, n := range conns {
		require.True(t, strings.HasPrefix(conn, "HTTP/2.0 "), conn)
		require.Equal(t, 8, n)
	}
	assert.Equal(t, post.Protocol, do("header").Class)
}

// Frames of HTTP/2: https://www.rfc-editor.org/rfc/rfc9113#section-6
const (
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameSettings = 0x4
	frameGoAway   = 0x7
)

func frame(kind, flags byte, stream uint32, data []byte) []byte {
	b := []byte{0, byte(len(data) >> 8), byte(len(data)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), data...)
}

// http2Server accepts HTTP/2, waits for a request, and answers with frames. It
// closes the connection if the last one is nil.
func http2Server(t *testing.T, certificate tls.Certificate, frames ...[]byte) string {
	t.Helper()
	return "https://" + listen(t, func(raw net.Conn) {
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
		conn.Write(frame(frameSettings, 0, 0, nil))
		preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return
		}
		head := make([]byte, 9)
		for head[3] != frameHeaders {
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			io.CopyN(io.Discard, conn, int64(head[1])<<8|int64(head[2]))
		}
		for _, f := range frames {
			if f == nil {
				return
			}
			conn.Write(f)
		}
		io.Copy(io.Discard, conn) // until the client has gone
	})
}

func TestPost_HTTP2Faults(t *testing.T) {
	certificate, pool := issue(t, func(*x509.Certificate) {})
	const internalError = 2
	goAway := append([]byte{0, 0, 0, 1, 0, 0, 0, internalError}, secret...)
	status200 := frame(frameHeaders, 0x4, 1, []byte{0x88}) // of HPACK's static table, with more to come
	for _, test := range []struct {
		name, class string
		frames      [][]byte
	}{
		{"GOAWAY", post.Reset, [][]byte{frame(frameGoAway, 0, 0, goAway), nil}},
		{"GOAWAY in the body", post.Reset, [][]byte{status200, frame(frameGoAway, 0, 0, goAway), nil}},
		{"stream reset", post.Reset, [][]byte{frame(frameReset, 0, 1, []byte{0, 0, 0, internalError})}},
		{"stream reset in the body", post.Reset, [][]byte{status200, frame(frameReset, 0, 1, []byte{0, 0, 0, internalError})}},
		{"rules broken", post.Protocol, [][]byte{frame(frameSettings, 0, 1, nil)}},
		{"headers that are none", post.Protocol, [][]byte{frame(frameHeaders, 0x4, 1, []byte(secret))}},
		{"body never ends", post.Timeout, [][]byte{status200}},
		{"no answer", post.Timeout, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, post.Config{})
			c.Trust(pool)
			limit := long
			if test.class == post.Timeout {
				limit = 2 * short
			}
			r := call(t, c, http2Server(t, certificate, test.frames...), limit)
			assert.Equal(t, test.class, r.Class, "%v", r.Err)
		})
	}
}
