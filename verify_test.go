package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// door is a verifier whose requests are authentic if X-Secret is "open sesame",
// with a log to look at.
func door() (webhook.Verifier, *bytes.Buffer) {
	var log bytes.Buffer
	v := trusting(webhook.Secret{ID: "sesame", Value: "open sesame"})
	v.Telemetry.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	return v, &log
}

// behind is a handler that counts, and keeps the last request it was given.
type behind struct {
	calls  int
	r      *http.Request
	body   string
	events []webhook.Event
}

func (b *behind) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	b.calls, b.r, b.body, b.events = b.calls+1, r, string(body), webhook.Events(r.Context())
}

func knock(body io.Reader, change ...func(r *http.Request)) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/hook", body)
	r.Header.Set("X-Secret", "open sesame")
	for _, c := range change {
		c(r)
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// requireAnswer requires a refusal in constant words.
func requireAnswer(tb testing.TB, got *httptest.ResponseRecorder, status int, body string) {
	tb.Helper()
	require.Equal(tb, status, got.Code, got.Body.String())
	require.Equal(tb, body+"\n", got.Body.String())
	require.Equal(tb, "text/plain; charset=utf-8", got.Header().Get("Content-Type"))
	require.Equal(tb, "nosniff", got.Header().Get("X-Content-Type-Options"))
}

func TestVerify_LetsAuthenticRequestsThrough(t *testing.T) {
	v, log := door()
	var next behind
	for name, body := range map[string]io.Reader{
		"of known length": strings.NewReader("payload"),
		"chunked":         io.MultiReader(strings.NewReader("pay"), strings.NewReader("load")),
	} {
		t.Run(name, func(t *testing.T) {
			got := serve(webhook.Verify("shop", v)(&next), knock(body))
			require.Equal(t, http.StatusOK, got.Code)
			require.Equal(t, "payload", next.body)
			require.Len(t, next.events, 1)
			require.Equal(t, "shop", next.events[0].Source)
			require.Equal(t, "payload", string(next.events[0].Body))

			require.EqualValues(t, 7, next.r.ContentLength)
			require.Empty(t, next.r.TransferEncoding)
			again, err := next.r.Clone(t.Context()).GetBody()
			require.NoError(t, err)
			b, err := io.ReadAll(again)
			require.NoError(t, err)
			require.Equal(t, "payload", string(b), "a clone has the body too")
		})
	}
	require.Empty(t, log.String())
}

func TestVerify_RefusesTheRest(t *testing.T) {
	header := func(value string) func(r *http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Secret", value) }
	}
	method := func(m string) func(r *http.Request) {
		return func(r *http.Request) { r.Method = m }
	}
	const (
		refused = "signature refused"
		allowed = "method not allowed: webhooks are sent with POST, which a redirect (to https, to another slash) turns into GET"
	)
	for _, test := range []struct {
		name   string
		change func(r *http.Request)
		status int
		body   string
		reason string
	}{
		{"no secret", header(""), 401, refused, `"reason":"signature"`},
		{"wrong secret", header("marked-guess"), 401, refused, `"reason":"signature"`},
		{"GET", method("GET"), 405, allowed, `"reason":"method"`},
		{"HEAD", method("HEAD"), 405, allowed, `"reason":"method"`},
		{"OPTIONS", method("OPTIONS"), 405, allowed, `"reason":"method"`},
		{"too large", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20+1))), 1<<20+1
		}, 413, "body too large", `"reason":"too_large"`},
		{"too large, of unknown length", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20+1))), -1
		}, 413, "body too large", `"reason":"too_large"`},
		{"too large for somebody before", func(r *http.Request) {
			r.Body, r.ContentLength = http.MaxBytesReader(nil, r.Body, 3), -1
		}, 413, "body too large", "a limit before Verify"},
		{"cut short", func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("mark"), &failing{io.ErrUnexpectedEOF}))
		}, 400, "malformed request", `"reason":"incomplete_body"`},
		{"shorter than announced", func(r *http.Request) { r.ContentLength++ }, 500, "internal error", "13 bytes of 14"},
		{"longer than announced", func(r *http.Request) { r.ContentLength-- }, 500, "internal error", "13 bytes of 12"},
		{"read before", func(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, 500, "internal error", "the body was read before Verify"},
		{"read and closed before", func(r *http.Request) {
			r.Body = io.NopCloser(&failing{http.ErrBodyReadAfterClose})
		}, 500, "internal error", `"reason":"body_consumed"`},
		{"replaced by nothing", func(r *http.Request) { r.Body = http.NoBody }, 500, "internal error", `"reason":"body_consumed"`},
		{"read before, of unknown length", func(r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			r.ContentLength = -1
			r.Header.Set("X-Secret", "signed with the body")
		}, 401, refused, "was it read before Verify?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, log := door()
			var next behind
			got := serve(webhook.Verify("shop", v)(&next), knock(strings.NewReader("marked-payload"[:13]), test.change))
			requireAnswer(t, got, test.status, test.body)
			require.Zero(t, next.calls)
			require.Equal(t, test.status == 405, got.Header().Get("Allow") == "POST")

			require.Contains(t, log.String(), test.reason)
			require.Contains(t, log.String(), `"source":"shop"`)
			require.Contains(t, log.String(), `"level":"WARN"`)
			require.Equal(t, 1, strings.Count(log.String(), "\n"))
			require.NotContains(t, log.String(), "marked")
			require.NotContains(t, log.String(), "open sesame")
		})
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// What is refused by its head is not read.
func TestVerify_RefusesUnread(t *testing.T) {
	v, _ := door()
	v.BodyLimit = 10
	put := &counting{Reader: strings.NewReader("body")}
	require.Equal(t, http.StatusMethodNotAllowed, serve(webhook.Verify("shop", v)(&behind{}), knock(put, func(r *http.Request) { r.Method = http.MethodPut })).Code)
	require.Zero(t, put.n)

	body := &counting{Reader: strings.NewReader(strings.Repeat("x", 11))}
	requireAnswer(t, serve(webhook.Verify("shop", v)(&behind{}), knock(body, func(r *http.Request) { r.ContentLength = 11 })), 413, "body too large")
	require.Zero(t, body.n)

	body = &counting{Reader: strings.NewReader(strings.Repeat("x", 1<<20))}
	requireAnswer(t, serve(webhook.Verify("shop", v)(&behind{}), knock(body)), 413, "body too large")
	require.LessOrEqual(t, body.n, 16<<10, "no more than one buffer of a body of unknown length")

	var next behind
	got := serve(webhook.Verify("shop", v)(&next), knock(strings.NewReader("ten bytes!")))
	require.Equal(t, http.StatusOK, got.Code)
	require.Equal(t, "ten bytes!", next.body)
}

type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestVerify_Handshake(t *testing.T) {
	v, log := door()
	v.Methods = []string{http.MethodPost, http.MethodGet}
	v.Secrets, v.Keyless = nil, true
	v.Check = func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
		return nil, &webhook.Answer{Header: http.Header{"x-echo": {"1"}}, Body: []byte(r.URL.Query().Get("challenge"))}
	}
	var next behind
	h := webhook.Verify("shop", v)(&next)
	ask := func(challenge string) *httptest.ResponseRecorder {
		return serve(h, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/hook?challenge="+challenge, nil))
	}
	got := ask("<script>")
	require.Equal(t, http.StatusOK, got.Code)
	require.Equal(t, "<script>", got.Body.String())
	require.Equal(t, "text/plain; charset=utf-8", got.Header().Get("Content-Type"))
	require.Equal(t, "nosniff", got.Header().Get("X-Content-Type-Options"))
	require.Equal(t, "1", got.Header().Get("X-Echo"))
	require.Empty(t, log.String(), "a handshake is no refusal")

	requireAnswer(t, ask(strings.Repeat("x", 1<<20)), 500, "internal error")
	require.Zero(t, next.calls)
}

func TestVerify_SecretsByPath(t *testing.T) {
	v, _ := door()
	v.Secrets = func(_ context.Context, r *webhook.Request) ([]webhook.Secret, error) {
		switch tenant := r.PathValue("tenant"); tenant {
		case "acme":
			return []webhook.Secret{{Value: "open sesame", Tenant: tenant}}, nil
		case "down":
			return nil, errors.New("no connection")
		default:
			return nil, nil
		}
	}
	var next behind
	mux := http.NewServeMux()
	mux.Handle("/hook/{tenant}", webhook.Verify("shop", v)(&next))
	to := func(path string) *httptest.ResponseRecorder {
		return serve(mux, knock(strings.NewReader("x"), func(r *http.Request) { r.URL.Path = path }))
	}
	require.Equal(t, http.StatusOK, to("/hook/acme").Code)
	require.Equal(t, "acme", next.events[0].Tenant)
	require.Equal(t, "acme", next.r.PathValue("tenant"), "the next handler has the path values too")
	requireAnswer(t, to("/hook/other"), 401, "signature refused")
	down := to("/hook/down")
	requireAnswer(t, down, 503, "not available, try again later")
	require.Equal(t, "10", down.Header().Get("Retry-After"))
	require.Equal(t, 1, next.calls)
}

func TestVerify_EmptyBatch(t *testing.T) {
	v := webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) { return nil, nil })
	var next behind
	require.Equal(t, http.StatusOK, serve(webhook.Verify("line", v)(&next), knock(nil)).Code)
	require.Equal(t, 1, next.calls)
	require.NotNil(t, next.events)
	require.Empty(t, next.events)
	require.Nil(t, webhook.Events(t.Context()))
}

func TestVerify_PanicLetsNothingThrough(t *testing.T) {
	v, _ := door()
	v.Check = func(context.Context, *webhook.Request) ([]webhook.Event, error) { panic("bug") }
	var next behind
	require.Panics(t, func() { serve(webhook.Verify("shop", v)(&next), knock(nil)) })
	require.Zero(t, next.calls)
}

func TestVerify_WiringPanics(t *testing.T) {
	v, _ := door()
	noCheck, noSecrets := v, v
	noCheck.Check, noSecrets.Secrets = nil, nil
	require.PanicsWithValue(t, "webhook: Verify: source is empty: name the sending system", func() { webhook.Verify("", v) })
	require.PanicsWithValue(t, `webhook: Verify "a": webhook: the Verifier has no Check`, func() { webhook.Verify("a", noCheck) })
	require.Panics(t, func() { webhook.Verify("a", noSecrets) })
	require.Panics(t, func() { webhook.Verify("a", v)(nil) })
	noSecrets.Keyless = true
	require.NotPanics(t, func() { webhook.Verify("a", noSecrets) })
}
