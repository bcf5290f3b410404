package webhook

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// open is a verifier that lets everything through that can be read.
func open() Verifier {
	v := Unverified(func(*Request) ([]Event, error) { return []Event{{}}, nil })
	v.Telemetry.Logger = slog.New(slog.DiscardHandler)
	return v
}

// listen serves a route on a real connection; got has the bodies let through.
func listen(tb testing.TB, rt *route) (addr string, got chan string) {
	tb.Helper()
	got = make(chan string, 1)
	srv := httptest.NewServer(rt.middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
	})))
	tb.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), got
}

// send writes a request as it stands, and returns the connection.
func send(tb testing.TB, addr, request string) *net.TCPConn {
	tb.Helper()
	var d net.Dialer
	conn, err := d.DialContext(tb.Context(), "tcp", addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write([]byte(strings.ReplaceAll(request, "\n", "\r\n")))
	require.NoError(tb, err)
	tcp, ok := conn.(*net.TCPConn)
	require.True(tb, ok)
	return tcp
}

// answer reads what the server says, and whether it ends the connection.
func answer(tb testing.TB, conn net.Conn) (status int, closes bool) {
	tb.Helper()
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(tb, err)
	require.NoError(tb, got.Body.Close())
	return got.StatusCode, got.Close
}

func TestVerify_ConnectionCut(t *testing.T) {
	addr, got := listen(t, newRoute("shop", open()))
	for name, request := range map[string]string{
		"before the body":     "POST / HTTP/1.1\nHost: x\nContent-Length: 10\n\n",
		"in the middle of it": "POST / HTTP/1.1\nHost: x\nContent-Length: 10\n\nhello",
		"in a chunk":          "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nhel",
		"between chunks":      "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nhello\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := send(t, addr, request)
			require.NoError(t, conn.CloseWrite())
			status, _ := answer(t, conn)
			require.Equal(t, http.StatusBadRequest, status)
			require.Empty(t, got)
		})
	}
	conn := send(t, addr, "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n")
	status, closes := answer(t, conn)
	require.Equal(t, http.StatusOK, status)
	require.False(t, closes)
	require.Equal(t, "hello", <-got)
}

// A body that comes too slowly ends at the deadline, and with it the connection.
func TestVerify_SlowBody(t *testing.T) {
	rt := newRoute("shop", open())
	rt.readTimeout = 20 * time.Millisecond
	addr, got := listen(t, rt)
	conn := send(t, addr, "POST / HTTP/1.1\nHost: x\nContent-Length: 10\n\nhello")
	status, closes := answer(t, conn)
	require.Equal(t, http.StatusRequestTimeout, status)
	require.True(t, closes)
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Empty(t, got)
}

// What is refused unread is answered although nothing of the body has come, and
// the connection does not wait for it longer than the body may take.
func TestVerify_RefusedUnread(t *testing.T) {
	v := open()
	v.BodyLimit = 10
	patient, hurried := newRoute("shop", v), newRoute("shop", v)
	patient.readTimeout, hurried.readTimeout = time.Hour, 20*time.Millisecond
	patientAddr, got := listen(t, patient)
	hurriedAddr, _ := listen(t, hurried)
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"too large", "POST / HTTP/1.1\nHost: x\nContent-Length: 11\n\n", 413},
		{"too large, asked before it is sent", "POST / HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: 11\n\n", 413},
		{"too large by far", "POST / HTTP/1.1\nHost: x\nContent-Length: 1000000000000\n\n", 413},
		{"too large, of unknown length", "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nc\n0123456789ab\n", 413},
		{"method", "PUT / HTTP/1.1\nHost: x\nContent-Length: 5\n\n", 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := send(t, patientAddr, test.request)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
			status, closes := answer(t, conn)
			require.Equal(t, test.status, status)
			require.True(t, closes)
			require.Empty(t, got)

			conn = send(t, hurriedAddr, test.request)
			status, _ = answer(t, conn)
			require.Equal(t, test.status, status)
			_, err := conn.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		})
	}
	status, closes := answer(t, send(t, patientAddr, "GET / HTTP/1.1\nHost: x\n\n"))
	require.Equal(t, 405, status)
	require.False(t, closes, "there is no body to wait for")
}

// Over HTTP/2 one request that is refused costs the others nothing.
func TestVerify_TooLargeOverHTTP2(t *testing.T) {
	v := open()
	v.BodyLimit = 10
	srv := httptest.NewUnstartedServer(Verify("shop", v)(http.NotFoundHandler()))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	var conns []net.Conn
	transport, ok := srv.Client().Transport.(*http.Transport)
	require.True(t, ok)
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		conns = append(conns, conn)
		return conn, err
	}
	for _, test := range []struct {
		body string
		want int
	}{{"more than ten", 413}, {"ten", 404}, {"more than ten", 413}, {"ten", 404}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader(test.body))
		require.NoError(t, err)
		got, err := srv.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
		require.Equal(t, 2, got.ProtoMajor)
		require.Equal(t, test.want, got.StatusCode)
	}
	require.Len(t, conns, 1)
}

// deadlines is a ResponseWriter that notes them.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// wrapped is how tracing and compression wrap a ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestVerify_ReadDeadline(t *testing.T) {
	h := Verify("shop", open())(http.NotFoundHandler())
	request := func(readTimeout time.Duration) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("x"))
		srv := &http.Server{ReadTimeout: readTimeout}
		return r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, srv))
	}
	for _, far := range []time.Duration{0, time.Minute} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(wrapped{w}, request(far))
		require.Len(t, w.set, 2)
		require.WithinDuration(t, time.Now().Add(10*time.Second), w.set[0], 5*time.Second)
		require.True(t, w.set[1].IsZero(), "a deadline that stays ends the handler's context")
	}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(wrapped{w}, request(time.Second))
	require.Empty(t, w.set, "the server's own deadline is nearer")
}

// Memory is given for what has come, not for what is announced.
func TestReadUpTo_Memory(t *testing.T) {
	const limit = 25 << 20
	body, err := readUpTo(strings.NewReader("hello"), limit, limit)
	require.NoError(t, err)
	require.Equal(t, "hello", string(body))
	require.LessOrEqual(t, cap(body), firstRead)

	for _, n := range []int{0, 1, firstRead - 1, firstRead, firstRead + 1, 100_000} {
		for _, announced := range []int64{-1, int64(n)} {
			body, err := readUpTo(strings.NewReader(strings.Repeat("x", n)), announced, limit)
			require.NoError(t, err)
			require.Len(t, body, n, strconv.Itoa(int(announced)))
			require.LessOrEqual(t, cap(body), max(firstRead, 2*n))
		}
	}
	body, err = readUpTo(strings.NewReader("hello"), -1, 4)
	require.ErrorIs(t, err, errLimit)
	require.LessOrEqual(t, cap(body), firstRead)
}
