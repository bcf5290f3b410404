package webhook_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// showURL is a verifier whose check tells the URL that it sees.
func showURL(base string) webhook.Verifier {
	return webhook.Verifier{
		Keyless: true, BaseURL: base,
		Check: func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
			return []webhook.Event{{ID: "1", Subject: r.URL.String()}}, nil
		},
	}
}

func TestBaseURL_Joined(t *testing.T) {
	for _, test := range []struct{ base, target, want string }{
		{"", "/acme?x=1", "/acme?x=1"},
		{"https://hooks.example.com", "/acme?x=1", "https://hooks.example.com/acme?x=1"},
		{"https://hooks.example.com/", "/acme", "https://hooks.example.com/acme"},
		{"https://example.com:8443/in", "/acme", "https://example.com:8443/in/acme"},
		{"http://example.com/i%2Fn", "/ac%2Fme?", "http://example.com/i%2Fn/ac%2Fme?"},
		{"", "https://evil.example.com/acme", "/acme"},
		{"", "https://evil.example.com?x", "/?x"},
		{"https://hooks.example.com", "https://user@evil.example.com:1/acme?x", "https://hooks.example.com/acme?x"},
		{"https://hooks.example.com", "http://evil.example.com", "https://hooks.example.com/"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, test.target, http.NoBody)
		var got string
		webhook.Verify("acme", showURL(test.base))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = webhook.Events(r.Context())[0].Subject
		})).ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, test.want, got, "%s %s", test.base, test.target)
	}
}

// A router's change to r.URL does not reach the check, and the check's URL does
// not reach the handler.
func TestBaseURL_Routers(t *testing.T) {
	var seen, handled string
	h := http.StripPrefix("/in", webhook.Verify("acme", showURL("https://hooks.example.com"))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen, handled = webhook.Events(r.Context())[0].Subject, r.URL.String()
	})))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/in/acme", http.NoBody))
	require.Equal(t, "https://hooks.example.com/in/acme", seen)
	require.Equal(t, "/acme", handled)

	// A request that no server has read has no other spelling than r.URL.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://evil.example.com/in/acme?x", http.NoBody)
	require.NoError(t, err)
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "https://hooks.example.com/acme?x", seen)
	require.Equal(t, "https://evil.example.com/acme?x", handled)
}

func TestBaseURL_OnBytes(t *testing.T) {
	v := showURL("https://hooks.example.com")
	r := &webhook.Request{URL: &url.URL{Path: "/acme"}}
	for range 2 { // a request may be verified again
		events, err := v.Verify(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, "https://hooks.example.com/acme", events[0].Subject)
	}
	r.URL = &url.URL{Scheme: "https", Host: "other.example.com", Path: "/acme"}
	events, err := v.Verify(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, "https://other.example.com/acme", events[0].Subject, "the caller says it")
}

func TestBaseURL_Malformed(t *testing.T) {
	for _, base := range []string{
		"hooks.example.com", "//hooks.example.com", "/in", "ftp://example.com", "HTTPS://example.com", "https://", "https:///in",
		"https://user:pass@example.com", "https://example.com?x", "https://example.com?", "https://example.com#x", "https://exa mple.com", "https://example.com/%zz",
	} {
		require.Panics(t, func() { webhook.Verify("acme", showURL(base)) }, base)
		_, err := showURL(base).Verify(t.Context(), &webhook.Request{URL: &url.URL{Path: "/"}})
		var answer *webhook.Answer
		require.ErrorAs(t, err, &answer, base)
		require.Equal(t, http.StatusInternalServerError, answer.Status)
		require.ErrorContains(t, err, "Verifier.BaseURL")
		require.NotContains(t, err.Error(), "pass@")
	}
}

func FuzzBaseURL(f *testing.F) {
	for _, target := range []string{"/", "/acme?x=1", "/a%2Fb|c", "//a", "/a#b", "https://evil.example.com/x", "/?", "*", "/a:b@c"} {
		f.Add(target)
	}
	h := func(got *string) http.Handler {
		return webhook.Verify("acme", showURL("https://hooks.example.com"))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			*got = webhook.Events(r.Context())[0].Subject
		}))
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)  // as net/http does
		if err != nil || len(target) > 1<<10 { // the test's check puts it into an event
			return
		}
		r := &http.Request{Method: http.MethodPost, URL: u, RequestURI: target, Header: http.Header{}}
		var got string
		h(&got).ServeHTTP(httptest.NewRecorder(), r)
		seen, err := url.Parse(got)
		require.NoError(t, err)
		require.Equal(t, "https", seen.Scheme)
		require.Equal(t, "hooks.example.com", seen.Host, "the request chose the host")
	})
}
