package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// bothWays runs f with attempts of leases that were born with the add, which are
// handed the request, and of leases that were claimed, which read it back.
func bothWays(t *testing.T, f func(t *testing.T, born bool)) {
	t.Helper()
	for name, born := range map[string]bool{"born with the add": true, "claimed": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, born) })
		})
	}
}

// arrive runs the inbox and has arrive happen, in the order that born says, and
// lets a minute go by.
func (r *rig) arrive(born bool, arrive func()) {
	r.t.Helper()
	if born {
		r.run()
		arrive()
	} else {
		arrive()
		r.run()
	}
	pass(time.Minute)
}

// postTo sends a request with body to a mux, and returns the answer's status.
func postTo(h http.Handler, target, body string, change func(*http.Request)) int {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// shown is what a handler saw of a request.
type shown struct {
	method, url, uri, host, pattern, remote string
	tenant, rest                            string // path values
	header                                  http.Header
	length                                  int64
	body                                    string
}

func look(t *testing.T, r *http.Request) shown {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	again, err := r.GetBody()
	require.NoError(t, err)
	second, err := io.ReadAll(again)
	require.NoError(t, err)
	require.Equal(t, body, second, "GetBody")
	return shown{
		method: r.Method, url: r.URL.String(), uri: r.RequestURI, host: r.Host, pattern: r.Pattern, remote: r.RemoteAddr,
		tenant: r.PathValue("tenant"), rest: r.PathValue("rest"), header: r.Header.Clone(), length: r.ContentLength, body: string(body),
	}
}

func TestHTTPHandler_ShowsTheRequest(t *testing.T) {
	bothWays(t, func(t *testing.T, born bool) {
		r := newRig(t, webhook.QueueConfig{Retry: fixed(2, time.Second)})
		var seen []shown
		r.inbox.Handle("orders", webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			seen = append(seen, look(t, q))
			assert.Equal(t, "HTTP/1.1", q.Proto)
			assert.Nil(t, q.TLS)

			events := webhook.Events(q.Context())
			if !assert.Len(t, events, 1) {
				return
			}
			assert.Equal(t, "1", events[0].ID)
			assert.Equal(t, "shop", events[0].Source)
			assert.Equal(t, "body of 1", string(events[0].Body))
			d, ok := webhook.Current(q.Context())
			assert.True(t, ok)
			assert.Equal(t, uint64(len(seen)), d.Token)

			// The next attempt is to see nothing of this.
			q.Header.Set("Content-Type", "changed")
			q.Header.Add("User-Agent", "changed")
			q.URL.Path = "/changed"
			if len(seen) == 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})))
		mux := http.NewServeMux()
		mux.Handle("/webhooks/{tenant}/{rest...}", believed(r.inbox.Receive("orders")))
		r.arrive(born, func() {
			require.Equal(t, 200, postTo(mux, "http://example.com:8080/webhooks/a%2Fcme/x/y%20z?b=%7e1&a=+&b=2", `[{"ID":"1"}]`, func(q *http.Request) {
				q.RemoteAddr = "203.0.113.7:4711"
				q.Header = http.Header{
					"Content-Type": {"application/json"}, "User-Agent": {"shop/1.0", "twice"}, "Accept": {"*/*"}, "Content-Length": {"12"},
				}
			}))
		})
		want := shown{
			method: "POST", url: "/webhooks/a%2Fcme/x/y%20z?b=%7e1&a=+&b=2", uri: "/webhooks/a%2Fcme/x/y%20z?b=%7e1&a=+&b=2",
			host: "example.com:8080", pattern: "/webhooks/{tenant}/{rest...}", remote: "203.0.113.7:4711",
			tenant: "a/cme", rest: "x/y z",
			header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"shop/1.0", "twice"}},
			length: 9, body: "body of 1",
		}
		require.Equal(t, []shown{want, want}, seen)
		require.Equal(t, store.Processed, r.only().State)
	})
}

// Of a batch each element is a request of its own, whatever is done to another's.
func TestHTTPHandler_ElementsOfABatch(t *testing.T) {
	bothWays(t, func(t *testing.T, born bool) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 1})
		bodies := map[string]string{}
		r.inbox.Handle("orders", webhook.HTTPHandler(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			seen := look(t, q)
			bodies[webhook.Events(q.Context())[0].ID] = seen.body + " at " + q.URL.Path
			assert.Equal(t, http.Header{"Content-Type": {"application/json"}}, seen.header)
			q.Header.Set("X-Seen", "yes")
			q.Header["Content-Type"][0] = "changed"
			q.URL.Path = "/changed"
		})))
		r.arrive(born, func() {
			require.Equal(t, 200, postTo(believed(r.inbox.Receive("orders")), "/batch", `[{"ID":"1"},{"ID":"2"}]`, func(q *http.Request) {
				q.Header.Set("Content-Type", "application/json")
			}))
		})
		require.Equal(t, map[string]string{"1": "body of 1 at /batch", "2": "body of 2 at /batch"}, bodies)
	})
}

// What came without a request is a POST to "/".
func TestHTTPHandler_EventsThatWereAdded(t *testing.T) {
	want := shown{
		method: "POST", url: "/", uri: "/", header: http.Header{"Content-Type": {"application/json"}},
		length: 13, body: `{"order":"1"}`,
	}
	e := event("1", "orders")
	e.Headers = http.Header{"Content-Type": {"application/json"}}

	bothWays(t, func(t *testing.T, born bool) {
		r := newRig(t, webhook.QueueConfig{})
		var seen []shown
		r.inbox.Handle("orders", webhook.HTTPHandler(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			seen = append(seen, look(t, q))
			assert.Nil(t, webhook.Carried(q.Context()))
		})))
		r.arrive(born, func() { r.add(e) })
		require.Equal(t, []shown{want}, seen)
	})

	t.Run("outside of an inbox", func(t *testing.T) {
		h := webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			assert.Equal(t, want, look(t, q))
			assert.Equal(t, []webhook.Event{e}, webhook.Events(q.Context()))
			w.WriteHeader(http.StatusTeapot)
		}))
		require.EqualError(t, h(t.Context(), e), "webhook: the handler answered 418 I'm a teapot")
	})
}

// A Handler around it can say what no status says.
func TestHTTPHandler_Wrapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		gone := webhook.HTTPHandler(http.NotFoundHandler())
		r.inbox.Handle("orders", func(ctx context.Context, e webhook.Event) error {
			return webhook.Permanent(gone(ctx, e))
		})
		r.run()
		r.add(event("1", "orders"))
		synctest.Wait()
		d := r.only()
		require.Equal(t, store.Dead, d.State)
		require.Equal(t, "permanent: webhook: the handler answered 404 Not Found", d.Reason)
		require.Equal(t, 404, d.Attempts[0].Status)
		require.Equal(t, "http_4xx", d.Attempts[0].Class)
	})
}

func TestHTTPHandler_RemovesTheFilesOfForms(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	e := event("1")
	e.Headers = http.Header{"Content-Type": {`multipart/form-data; boundary=b`}}
	e.Body = []byte("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n" + strings.Repeat("x", 1000) + "\r\n--b--\r\n")
	files := func() int {
		all, err := os.ReadDir(os.TempDir())
		require.NoError(t, err)
		return len(all)
	}
	h := webhook.HTTPHandler(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		assert.NoError(t, q.ParseMultipartForm(0)) // all of it to files
		assert.Equal(t, 1, files())
		panic(http.ErrAbortHandler)
	}))
	require.Panics(t, func() { _ = h(t.Context(), e) })
	require.Zero(t, files())
}

func TestHTTPHandler_Nil(t *testing.T) {
	require.PanicsWithValue(t, "webhook: HTTPHandler: the handler is nil", func() { webhook.HTTPHandler(nil) })
}

// What is kept was not written here: it is a dead letter, and not quoted.
func TestHTTPHandler_KeptRequestIsBroken(t *testing.T) {
	for name, head := range map[string]string{
		"path":   `{"r":{"p":"/s3cret%zz"}}`,
		"method": `{"r":{"m":"S3CRET s3cret"}}`,
		"all":    `{"r":"s3cret"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("orders", webhook.HTTPHandler(http.NotFoundHandler()))
				r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
					for _, a := range b.Adds {
						a.Record.Head = []byte(head)
					}
					return real(ctx, b)
				})
				r.add(event("1", "orders"))
				r.run()
				d := r.only()
				require.Equal(t, store.Dead, d.State)
				require.Contains(t, d.Reason, "is not what was written")
				require.NotContains(t, strings.ToLower(d.Reason), "s3cret")
			})
		})
	}
}

// Nothing that lets one in is stored with the request, whatever the verifier keeps.
func TestHTTPHandler_CredentialsAreNotStored(t *testing.T) {
	bothWays(t, func(t *testing.T, born bool) {
		mem := memory.New()
		r := newRigWith(t, mem, webhook.InboxConfig{})
		var seen shown
		r.inbox.Handle("orders", webhook.HTTPHandler(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { seen = look(t, q) })))
		v := webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) { return []webhook.Event{{ID: "1"}}, nil })
		v.Keep = []string{"*"}
		v.Hide = []string{"X-Signature", "token"}
		route := webhook.Verify("shop", v)(r.inbox.Receive("orders"))
		r.arrive(born, func() {
			require.Equal(t, 200, postTo(route, "/?a=1&token=s3cret&X-SIGNATURE=s3cret&%74oken=s3cret&b=%7E", "{}", func(q *http.Request) {
				q.URL.User, q.URL.Fragment = nil, ""
				q.Host = "user:s3cret@example.com"
				q.Header = http.Header{
					"Authorization": {"Bearer s3cret"}, "Proxy-Authorization": {"s3cret"}, "Cookie": {"s3cret"},
					"X-Signature": {"s3cret"}, "Token": {"s3cret"}, "X-Other": {"kept"},
				}
			}))
		})
		require.Equal(t, "/?a=1&b=%7E", seen.url)
		require.Equal(t, "/?a=1&b=%7E", seen.uri)
		require.Equal(t, "example.com", seen.host)
		require.Equal(t, http.Header{"X-Other": {"kept"}}, seen.header)
		d := r.only()
		require.Contains(t, string(d.Record.Head), "b=%7E", "the request is there")
		require.NotContains(t, string(d.Record.Head), "s3cret")
		require.NotContains(t, r.logs.String(), "s3cret")
	})
}

func TestReceive_RefusesAnEndlessURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("orders", new(collector).handle)
		route := believed(r.inbox.Receive("orders"))
		require.Equal(t, 400, postTo(route, "/?"+strings.Repeat("x", 20_000), `[{"ID":"1"}]`, nil))
		require.Empty(t, r.deliveries())
		require.Len(t, r.logs.having(t, "reason", "malformed"), 1)
		require.NotContains(t, r.logs.String(), "xxx")
	})
}

var errHandler = errors.New("of the handler")

// The kept request survives what an event survives: a redrive, by another process.
func TestHTTPHandler_AfterARedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newRig(t, webhook.QueueConfig{})
		old.inbox.Handle("orders", func(context.Context, webhook.Event) error { return webhook.Permanent(errHandler) })
		stop := old.run()
		mux := http.NewServeMux()
		mux.Handle("/hook/{tenant}", believed(old.inbox.Receive("orders")))
		require.Equal(t, 200, postTo(mux, "/hook/acme", `[{"ID":"1"}]`, nil))
		pass(time.Second)
		require.NoError(t, stop())
		require.Equal(t, store.Dead, old.only().State)

		r := newRigOn(t, old.mem, webhook.QueueConfig{})
		var seen shown
		r.inbox.Handle("orders", webhook.HTTPHandler(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { seen = look(t, q) })))
		r.run()
		n, _, err := r.inbox.Queue().Redrive(t.Context(), store.Filter{}, "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		pass(time.Minute)
		require.Equal(t, "acme", seen.tenant)
		require.Equal(t, store.Processed, r.only().State)
	})
}
