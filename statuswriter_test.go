package webhook_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// serving runs d's route in a real server, and returns a way to send an event to it,
// and what is told when a request has ended here.
func serving(t *testing.T, d *dedupRig) (send func(id string) served, ended <-chan struct{}) {
	t.Helper()
	end := make(chan struct{}, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { end <- struct{}{} }()
		d.route.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return func(id string) served {
		t.Helper()
		res, err := srv.Client().Post(srv.URL, "application/json", jsonBody(`[{"ID":"`+id+`"}]`))
		require.NoError(t, err)
		t.Cleanup(func() { res.Body.Close() })
		return served{res.StatusCode, res.Body}
	}, end
}

// served is an answer whose body the test's end closes.
type served struct {
	StatusCode int
	Body       io.Reader
}

// A handler may stream: what it flushes arrives before it has returned.
func TestDeduplicate_Streams(t *testing.T) {
	arrived := make(chan struct{})
	d := newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "first\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-arrived
		io.WriteString(w, "second\n")
	})
	send, ended := serving(t, d)
	r := bufio.NewReader(send("1").Body)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	close(arrived)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "second\n", string(rest))
	<-ended
	d.requireKnown("1")
}

// http.ResponseController reaches the real writer.
func TestDeduplicate_ResponseController(t *testing.T) {
	d := newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		for what, err := range map[string]error{
			"SetReadDeadline":  c.SetReadDeadline(time.Now().Add(time.Minute)),
			"SetWriteDeadline": c.SetWriteDeadline(time.Now().Add(time.Minute)),
			"EnableFullDuplex": c.EnableFullDuplex(),
			"Flush":            c.Flush(),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	send, _ := serving(t, d)
	require.Equal(t, http.StatusOK, send("1").StatusCode)
}

// What is written on a connection that was taken over is not seen: no success.
func TestDeduplicate_Hijacked(t *testing.T) {
	d := newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	send, ended := serving(t, d)
	for range 2 {
		require.Equal(t, http.StatusOK, send("1").StatusCode)
		<-ended
	}
	require.Len(t, d.calls(), 2)
	require.Equal(t, "the handler took over the connection", d.logs.having(t, "status", "failed")[0]["reason"])
}

// A recorder cannot be taken over; asking is no harm.
func TestDeduplicate_HijackUnsupported(t *testing.T) {
	d := newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := http.NewResponseController(w).Hijack()
		assert.ErrorIs(t, err, http.ErrNotSupported)
	})
	d.requireNew("1")
	d.requireKnown("1")
}
