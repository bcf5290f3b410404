package endtoend

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// Marked values, to be looked for in everything that is emitted. The payload may
// be in the file, and nowhere else; the others nowhere at all.
const (
	markedPayload = "PAYLOAD-4be1c09d"
	markedSecret  = "SECRET--9f27a6b3-must-not-leak-"
	markedBearer  = "BEARER-71d0e8c5"
	markedCookie  = "COOKIE-c3a94f12"

	markedIndex = 907140658231729364 // longer than any number that stands in a log by chance
)

// TestLeak runs everything with marked values, and looks for them in every
// record, every answer and the file.
func TestLeak(t *testing.T) {
	key := "whsec_" + base64.StdEncoding.EncodeToString([]byte(markedSecret))
	path := filepath.Join(t.TempDir(), "webhooks.db")
	var emitted syncBuffer
	telemetry := webhook.Telemetry{Logger: slog.New(slog.NewJSONHandler(&emitted, &slog.HandlerOptions{Level: slog.LevelDebug}))}

	st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{
		Telemetry: telemetry,
		Retry:     webhook.RetryPolicy{Attempts: 2, Delays: []time.Duration{time.Millisecond}},
	}})
	require.NoError(t, err)
	type payload struct{ Amount int }
	for name, h := range map[string]webhook.Handler{
		"succeeds": func(context.Context, webhook.Event) error { return nil },
		"fails":    func(context.Context, webhook.Event) error { return errors.New("down") },
		"panics":   func(_ context.Context, e webhook.Event) error { panic(string(e.Body)) },
		"panics with a number of it": func(_ context.Context, e webhook.Event) error {
			_ = e.Body[markedIndex]
			return nil
		},
		"cannot decode": func(_ context.Context, e webhook.Event) error { return e.Decode(&payload{}) },
		"is late":       func(context.Context, webhook.Event) error { return webhook.RetryAfter(time.Hour, nil) },
		"has no use":    func(context.Context, webhook.Event) error { return webhook.Discard("not ours") },
	} {
		inbox.Handle(name, h)
	}
	verifier, err := provider.StandardWebhooks(key)
	require.NoError(t, err)
	verifier.Telemetry = telemetry
	mux := http.NewServeMux()
	mux.Handle("/hook", webhook.Verify("acme", verifier)(inbox.Receive(
		"succeeds", "fails", "panics", "panics with a number of it", "cannot decode", "is late", "has no use")))
	mux.Handle("/open", inbox.Receive("succeeds")) // Verify was forgotten
	srv := httptest.NewServer(mux)
	defer srv.Close()

	running, end := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- webhook.Run(running, inbox) }()

	secrets := []string{markedSecret, base64.StdEncoding.EncodeToString([]byte(markedSecret)), markedBearer, markedCookie}
	var answers bytes.Buffer
	// send returns after noting the signature as a further secret.
	send := func(path, body, key string, age time.Duration, mend func(http.Header)) {
		t.Helper()
		target, err := url.Parse(srv.URL + path + "?token=" + markedBearer)
		require.NoError(t, err)
		r := &webhook.Request{
			Method: http.MethodPost, URL: target, Body: []byte(body), Time: time.Now().Add(-age), Secrets: []webhook.Secret{{Value: key}},
			Header: http.Header{"Authorization": {"Bearer " + markedBearer}, "Cookie": {"s=" + markedCookie}, "Content-Type": {"application/json"}},
		}
		require.NoError(t, verifier.Sign(r, webhook.Event{ID: "msg_" + strconv.Itoa(len(body))}))
		_, mac, _ := strings.Cut(r.Header.Get("Webhook-Signature"), ",")
		require.NotEmpty(t, mac)
		secrets = append(secrets, mac)
		if mend != nil {
			mend(r.Header)
		}
		req, err := http.NewRequestWithContext(t.Context(), r.Method, target.String(), bytes.NewReader(r.Body))
		require.NoError(t, err)
		req.Header = r.Header
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		_, err = answers.ReadFrom(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Header.Write(&answers))
	}
	body := `{"type":"order.paid","Amount":"` + markedPayload + `"}`
	send("/hook", body, key, 0, nil)
	send("/hook", body, key, 0, nil)                                                                                  // a duplicate
	send("/hook", body+" ", "whsec_"+base64.StdEncoding.EncodeToString([]byte("another secret of 24 bytes")), 0, nil) // forged
	send("/hook", body, key, time.Hour, nil)                                                                          // stale
	send("/hook", body, key, 0, func(h http.Header) { h.Set("Webhook-Timestamp", markedPayload) })
	send("/hook", body, key, 0, func(h http.Header) { h.Del("Webhook-Signature") })
	send("/hook", body, key, 0, func(h http.Header) { h.Set("Webhook-Signature", "v9,"+markedPayload) })
	send("/hook", body[:20], key, 0, nil) // not JSON
	send("/hook", strings.Repeat(markedPayload, 100_000), key, 0, nil)
	send("/open", body, key, 0, nil)

	q := inbox.Queue()
	require.Eventually(t, func() bool {
		n, err := q.Count(t.Context(), store.Filter{States: []store.State{store.Dead}}, 100)
		return err == nil && n >= 4
	}, 20*time.Second, 10*time.Millisecond)
	for d, err := range q.Find(t.Context(), store.Filter{States: []store.State{store.Dead}}) {
		require.NoError(t, err)
		emitted.WriteString(d.Reason)
		d, err = q.Get(t.Context(), d.ID)
		require.NoError(t, err)
		for _, a := range d.Attempts {
			emitted.WriteString(a.Err)
		}
	}
	_, _, err = q.Redrive(t.Context(), store.Filter{}, "", 100)
	require.NoError(t, err)
	end()
	require.NoError(t, <-drained)

	file, err := os.ReadFile(path)
	require.NoError(t, err)
	log, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	file = append(file, log...)
	require.NoError(t, st.Close())

	require.True(t, bytes.Contains(file, []byte(markedPayload)), "the file is not where this test looks")
	for place, text := range map[string]string{"log": emitted.String(), "answers": answers.String(), "file": string(file)} {
		for _, secret := range secrets {
			requireWithout(t, place, text, secret)
		}
		if place != "file" {
			requireWithout(t, place, text, markedPayload)
			requireWithout(t, place, text, strconv.Itoa(markedIndex)) // a panic's value
		}
	}
	for _, want := range []string{`"status":"processed"`, `"status":"dead"`, `"status":"duplicate"`, `"status":"rejected"`, `"status":"discarded"`} {
		require.Contains(t, emitted.String(), want, "the run left something out")
	}
}

// requireWithout is NotContains for texts that are too long to be printed.
func requireWithout(t *testing.T, place, text, marked string) {
	t.Helper()
	if i := strings.Index(text, marked); i >= 0 {
		t.Fatalf("%s holds %q: …%q", place, marked, text[max(0, i-100):min(len(text), i+100)])
	}
}

// syncBuffer is a buffer for concurrent writers.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) WriteString(p string) { s.Write([]byte(p)) }

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
