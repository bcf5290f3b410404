package post_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/post"
)

// What a call costs beside what net/http takes for it, over a connection that is
// there. The receiver is part of this process, and allocates nothing.
func BenchmarkPost(b *testing.B) {
	base := "http://" + listen(b, func(conn net.Conn) {
		// The payload ends with the only brace that closes.
		for r := bufio.NewReader(conn); ; {
			if _, err := r.ReadSlice('}'); err != nil {
				return
			}
			if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks"); err != nil {
				return
			}
		}
	})
	bench := func(name string, do func(ctx context.Context, req *http.Request)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
				do(ctx, request(b, base+path))
				cancel()
			}
		})
	}
	bare := &http.Transport{DisableCompression: true}
	b.Cleanup(bare.CloseIdleConnections)
	bench("net/http", func(ctx context.Context, req *http.Request) {
		resp, err := bare.RoundTrip(req.WithContext(ctx))
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(b, err)
		resp.Body.Close()
	})
	c := client(b, post.Config{})
	bench("post", func(ctx context.Context, req *http.Request) {
		r := c.Post(ctx, req, nil)
		require.NoError(b, r.Err)
	})
}
