package endtoend

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// TestLeak_Outbound sends with marked values to receivers that tell all they were
// told, and looks for them in every record, every error and the file. The payload and
// the beginning of an answer may be in the file, and nowhere else; secrets,
// signatures, an endpoint's headers, its URL's path and query nowhere at all.
func TestLeak_Outbound(t *testing.T) {
	const markedPath, markedAnswer = "PATH-5d0c71ee", "ANSWER-a8e13f60"
	key := "whsec_" + base64.StdEncoding.EncodeToString([]byte(markedSecret))
	secrets := []string{markedSecret, base64.StdEncoding.EncodeToString([]byte(markedSecret)), markedBearer, markedPath}
	var mu sync.Mutex
	seen := map[string]int{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, last, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		mu.Lock()
		seen[last]++
		for mac := range strings.FieldsSeq(r.Header.Get("Webhook-Signature")) {
			secrets = append(secrets, strings.TrimPrefix(mac, "v1,"))
		}
		mu.Unlock()
		switch last {
		case "redirects":
			w.Header().Set("Location", "https://login.example/"+markedBearer+"?token="+markedBearer)
			w.WriteHeader(http.StatusFound)
		case "lies":
			w.Header().Set("Content-Length", "1000000")
			_, _ = io.WriteString(w, markedAnswer)
		case "resets":
			panic(http.ErrAbortHandler)
		default:
			status, err := strconv.Atoi(last)
			if err != nil {
				status = http.StatusTeapot
			}
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, markedAnswer)
		}
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of handshakes that are none
	srv.Start()
	defer srv.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	endpoint := func(id, base string) webhook.Endpoint {
		return webhook.Endpoint{
			ID: id, URL: base + "/" + markedPath + "/" + id + "?token=" + markedBearer,
			Headers: http.Header{"Authorization": {"Bearer " + markedBearer}},
			Secrets: []webhook.Secret{{Value: key}},
		}
	}
	table := map[string]webhook.Endpoint{
		"refuses":   endpoint("refuses", "http://"+closed.Addr().String()),
		"no-tls":    endpoint("no-tls", strings.Replace(srv.URL, "http:", "https:", 1)),
		"no-host":   endpoint("no-host", "https://receiver.invalid"),
		"private":   endpoint("private", "https://10.0.0.1"),
		"userinfo":  endpoint("userinfo", "https://u:"+markedBearer+"@receiver.example"),
		"malformed": endpoint("malformed", "https://receiver.example:"+markedBearer),
		"own":       endpoint("own", "https://receiver.example"),
		"signer":    endpoint("signer", srv.URL),
	}
	for _, id := range []string{"200", "500", "404", "410", "429", "503", "redirects", "lies", "resets"} {
		table[id] = endpoint(id, srv.URL)
	}
	signer := table["signer"]
	signer.Signers = []string{"panics"}
	table["signer"] = signer

	path := filepath.Join(t.TempDir(), "webhooks.db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	var emitted syncBuffer
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Queue: webhook.QueueConfig{
			Telemetry: webhook.Telemetry{Logger: slog.New(slog.NewJSONHandler(&emitted, &slog.HandlerOptions{Level: slog.LevelDebug}))},
			Retry:     webhook.RetryPolicy{Attempts: 2, Delays: []time.Duration{time.Millisecond}},
			Timeout:   5 * time.Second,
		},
		Endpoints: webhook.EndpointFunc(func(_ context.Context, id string) (webhook.Endpoint, error) {
			if ep, ok := table[id]; ok {
				return ep, nil
			}
			return webhook.Endpoint{}, webhook.ErrNotFound
		}),
		Signers: map[string]webhook.Signer{"panics": func(r *webhook.Request, _ webhook.Event) error { panic(string(r.Body) + r.Secrets[0].Value) }},
		Guard:   webhook.Guard{Development: true},
		Unguarded: func(ep webhook.Endpoint) http.RoundTripper {
			if ep.ID == "own" {
				return panics{}
			}
			return nil
		},
	})
	require.NoError(t, err)
	running, end := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- webhook.Run(running, out) }()

	e := webhook.Event{Type: "order.paid", Body: []byte(`{"Amount":"` + markedPayload + `"}`), To: []string{"deleted"}}
	for id := range table {
		e.To = append(e.To, id)
		if err := out.Check(table[id]); err != nil {
			emitted.WriteString(err.Error())
		}
	}
	_, err = out.Send(t.Context(), e)
	require.NoError(t, err)
	_, err = out.Send(t.Context(), webhook.Event{ID: markedPayload + "."}, webhook.Event{Headers: http.Header{"Authorization": {markedBearer + "\n"}}})
	require.ErrorIs(t, err, webhook.ErrMalformed)
	emitted.WriteString(err.Error())
	_, err = out.Send(t.Context(), webhook.Event{Headers: http.Header{"Authorization": {markedBearer + "\n"}}})
	require.ErrorIs(t, err, webhook.ErrMalformed)
	emitted.WriteString(err.Error())

	var excerpts bytes.Buffer
	require.Eventually(t, func() bool {
		excerpts.Reset()
		for d, err := range out.Queue().Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			d, err = out.Queue().Get(t.Context(), d.ID)
			require.NoError(t, err)
			if d.State == store.Queued && d.Deferred == 0 || d.State == store.Processing {
				return false
			}
			emitted.WriteString(d.Reason)
			for _, a := range d.Attempts {
				emitted.WriteString(a.Err + a.Address)
				excerpts.Write(a.Response)
			}
		}
		return true
	}, 30*time.Second, 10*time.Millisecond)
	for s, err := range out.Queue().Destinations(t.Context()) {
		require.NoError(t, err)
		for _, h := range s.Held {
			emitted.WriteString(h.Reason)
		}
	}
	end()
	require.NoError(t, <-drained)
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	log, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	require.NoError(t, st.Close())
	file = append(file, log...)

	require.True(t, bytes.Contains(file, []byte(markedPayload)), "the file is not where this test looks")
	require.Contains(t, excerpts.String(), markedAnswer, "no answer was kept: this test looks at nothing")
	for _, id := range []string{"200", "500", "404", "410", "429", "503", "redirects", "lies", "resets"} {
		require.NotZero(t, seen[id], "%s was not called", id)
	}
	for _, secret := range secrets {
		requireWithout(t, "log", emitted.String(), secret)
		requireWithout(t, "file", string(file), secret)
	}
	requireWithout(t, "log", emitted.String(), markedPayload)
	requireWithout(t, "log", emitted.String(), markedAnswer)
	for _, want := range []string{`"status":"processed"`, `"status":"dead"`, `"status":"failed"`, `"status":"discarded"`, "panics with", "login.example", "blocked"} {
		require.Contains(t, emitted.String(), want, "the run left something out")
	}
}

// panics is a transport that shows what it was given.
type panics struct{}

func (panics) RoundTrip(r *http.Request) (*http.Response, error) {
	panic(r.URL.String() + r.Header.Get("Authorization"))
}
