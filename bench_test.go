package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store/memory"
)

// The full cycle of an event of 1 KiB through the memory store, Add → handler →
// processed: what the library itself costs, the disk aside.
func BenchmarkInbox_Cycle(b *testing.B) {
	body := []byte(`{"data":"` + strings.Repeat("x", 1013) + `"}`)
	event := func(n int64) webhook.Event {
		return webhook.Event{Source: "bench", ID: strconv.FormatInt(n, 10), Type: "invoice.paid", Body: body, To: []string{"noop"}}
	}

	// Each event is handled before the next is added.
	b.Run("1 adder", func(b *testing.B) {
		handled := make(chan struct{}, 1)
		inbox, wait := startInbox(b, func() { handled <- struct{}{} })
		b.ReportAllocs()
		n := int64(0)
		for b.Loop() {
			n++
			_, err := inbox.Add(b.Context(), event(n))
			require.NoError(b, err)
			<-handled
		}
		wait(n)
	})

	b.Run("64 adders", func(b *testing.B) {
		inbox, wait := startInbox(b, func() {})
		var n atomic.Int64
		b.SetParallelism(64)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := inbox.Add(b.Context(), event(n.Add(1))); err != nil {
					b.Error(err)
				}
			}
		})
		wait(n.Load())
	})
}

// A request of 1 KiB through Verify and Receive, from the mux to processed: what a
// delivery over HTTP costs beside BenchmarkInbox_Cycle, the server and the check
// of the signature aside.
func BenchmarkReceive(b *testing.B) {
	body := []byte(`{"data":"` + strings.Repeat("x", 1013) + `"}`)
	sender := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		return []webhook.Event{{ID: r.Header.Get("X-Shop-Id"), Type: "invoice.paid"}}, nil
	})
	sender.Keep = []string{"X-Shop-*"}
	handled := make(chan struct{}, 1)
	inbox, wait := startInbox(b, func() { handled <- struct{}{} })
	mux := http.NewServeMux()
	mux.Handle("/webhooks/{tenant}", webhook.Verify("shop", sender)(inbox.Receive("noop")))
	r := httptest.NewRequest(http.MethodPost, "/webhooks/acme?region=eu", nil)
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "Content-Length": {"1024"}, "User-Agent": {"shop/1.0"},
		"Accept": {"*/*"}, "X-Shop-Id": {""}, "X-Shop-Topic": {"invoice.paid"},
	}
	r.ContentLength = int64(len(body))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n++
		r.Header["X-Shop-Id"][0] = strconv.FormatInt(n, 10)
		r.Body = io.NopCloser(bytes.NewReader(body))
		mux.ServeHTTP(w, r)
		require.Equal(b, http.StatusOK, w.Code)
		<-handled
	}
	wait(n)
}

// An event of 1 KiB through the memory store, Send → sign → POST → processed, over
// a connection that is there. The receiver is part of this process, and allocates
// nothing.
func BenchmarkDispatcher_Cycle(b *testing.B) {
	body := []byte(`{"data":"` + strings.Repeat("x", 1013) + `"}`)
	receiver, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { receiver.Close() })
	received := make(chan struct{}, 1)
	serve := func(conn net.Conn) {
		defer conn.Close()
		// The body ends with the only brace that closes.
		for r := bufio.NewReader(conn); ; received <- struct{}{} {
			if _, err := r.ReadSlice('}'); err != nil {
				return
			}
			if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			conn, err := receiver.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	st := memory.New()
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Queue: webhook.QueueConfig{Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}},
		Guard: webhook.Guard{Development: true},
		Endpoints: webhook.EndpointList{{
			ID: "a", URL: "http://" + receiver.Addr().String(), Secrets: []webhook.Secret{{Value: signature.NewSecret()}},
		}},
	})
	require.NoError(b, err)
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- out.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		require.NoError(b, <-ran)
		require.NoError(b, st.Close())
	})
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n++
		_, err := out.Send(b.Context(), webhook.Event{ID: strconv.FormatInt(n, 10), Type: "invoice.paid", Body: body, To: []string{"a"}})
		require.NoError(b, err)
		<-received
	}
}

// startInbox runs an inbox with the handler "noop", which calls handle. What it
// returns waits until n events are processed.
func startInbox(b *testing.B, handle func()) (_ *webhook.Inbox, wait func(n int64)) {
	b.Helper()
	st := memory.New()
	quiet := webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: quiet}})
	require.NoError(b, err)
	var handled atomic.Int64
	inbox.Handle("noop", func(context.Context, webhook.Event) error {
		handled.Add(1)
		handle()
		return nil
	})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- inbox.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		require.NoError(b, <-ran)
		require.NoError(b, st.Close())
	})
	return inbox, func(n int64) {
		for range time.Tick(100 * time.Microsecond) {
			stats, err := inbox.Queue().Stats(context.Background())
			require.NoError(b, err)
			if handled.Load() == n && stats.Queued+stats.Processing == 0 {
				return
			}
		}
	}
}
