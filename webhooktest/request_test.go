package webhooktest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/webhooktest"
)

const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// acme is a sender that is declared: it signs method, URL, time and a token.
func acme(secrets ...string) (webhook.Verifier, error) {
	v, err := signature.Scheme{
		Name: "acme", Header: "Acme-Signature", Separator: ";", Prefix: "s=",
		Signed: []signature.Part{
			signature.Method(), signature.Text("\n"), signature.URL(), signature.Text("\n"),
			signature.Entry("t="), signature.Text("\n"), signature.Body(),
		},
		Sent:    signature.Milliseconds(signature.Entry("t=")),
		ID:      signature.Header("Acme-Id"),
		Type:    signature.Header("Acme-Event"),
		Subject: signature.Header("Acme-Customer"),
	}.Verifier(secrets...)
	v.BaseURL = "https://hooks.example.com/in"
	return v, err
}

// presets are senders with a secret of theirs, and an event as they send it.
var presets = map[string]struct {
	preset    func(secrets ...string) (webhook.Verifier, error)
	secret    string
	event     webhook.Event
	signature string // the header that has it
}{
	"standard": {provider.StandardWebhooks, whsec, webhook.Event{ID: "msg_1", Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid"}`)}, "Webhook-Signature"},
	"svix":     {provider.Svix, whsec, webhook.Event{ID: "msg_1", Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid"}`)}, "Svix-Signature"},
	"stripe":   {provider.Stripe, "whsec_test", webhook.Event{ID: "evt_1", Type: "invoice.paid", Body: []byte(`{"id":"evt_1","type":"invoice.paid"}`)}, "Stripe-Signature"},
	"github":   {provider.GitHub, "text", webhook.Event{ID: "72d3162e", Type: "push", Body: []byte(`{"ref":"main"}`)}, "X-Hub-Signature-256"},
	"slack": {
		provider.Slack, "8f742231b10e8888abcd99baac0785a5",
		webhook.Event{ID: "Ev1", Type: "app_mention", Body: []byte(`{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}`)},
		"X-Slack-Signature",
	},
	"shopify": {provider.Shopify, "hush", webhook.Event{ID: "b54557e4", Type: "orders/create", Body: []byte(`{"id":1}`)}, "X-Shopify-Hmac-Sha256"},
	"acme":    {acme, "secret", webhook.Event{ID: "1", Type: "paid", Subject: "cus_1", Body: []byte("<paid/>")}, "Acme-Signature"},
}

// route answers what Verify makes of a request, and shows the event.
func route(v webhook.Verifier, got *webhook.Event) http.Handler {
	v.Telemetry.Logger = slog.New(slog.DiscardHandler)
	return webhook.Verify("shop", v)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		*got = webhook.Events(r.Context())[0]
	}))
}

func serve(h http.Handler, r *http.Request) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestRequest_EveryPreset(t *testing.T) {
	for name, p := range presets {
		t.Run(name, func(t *testing.T) {
			v, err := p.preset(p.secret)
			require.NoError(t, err)
			var got webhook.Event
			h := route(v, &got)

			r := webhooktest.Request(t, v, "/hooks?tenant=7", p.event)
			require.Equal(t, "application/json", r.Header.Get("Content-Type"))
			require.NotEmpty(t, r.Header.Get(p.signature))
			require.Equal(t, http.StatusOK, serve(h, r))
			require.Equal(t, p.event.ID, got.ID)
			require.Equal(t, p.event.Type, got.Type)
			require.Equal(t, p.event.Subject, got.Subject)
			require.Equal(t, p.event.Body, got.Body)

			unsigned := webhooktest.Request(t, v, "/hooks", p.event)
			unsigned.Header.Del(p.signature)
			require.Equal(t, http.StatusUnauthorized, serve(h, unsigned))

			tampered := webhooktest.Request(t, v, "/hooks", p.event)
			webhooktest.SetBody(tampered, append([]byte(" "), p.event.Body...))
			require.Equal(t, http.StatusUnauthorized, serve(h, tampered))

			for _, off := range []time.Duration{-time.Hour, time.Hour} {
				stale := webhooktest.RequestAt(t, v, "/hooks", p.event, time.Now().Add(off))
				want := http.StatusUnauthorized
				if name == "github" || name == "shopify" {
					want = http.StatusOK // they sign no time
				}
				require.Equal(t, want, serve(h, stale), off)
			}
		})
	}
}

// Under synctest a request becomes stale by itself.
func TestRequest_BecomesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := webhook.Must(provider.Stripe("whsec_test"))
		var got webhook.Event
		r := webhooktest.Request(t, v, "/", presets["stripe"].event)
		time.Sleep(6 * time.Minute)
		require.Equal(t, http.StatusUnauthorized, serve(route(v, &got), r))
	})
}

// What the program is given is a request like a server's, or one that a client
// can send.
func TestRequest_Targets(t *testing.T) {
	v := webhook.Must(provider.GitHub("text"))
	e := webhook.Event{ID: "1", Type: "push", Body: []byte(`{}`)}

	r := webhooktest.Request(t, v, "/a%2Fb/?x=%31", e)
	like := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/a%2Fb/?x=%31", strings.NewReader("{}"))
	require.Equal(t, like.URL, r.URL)
	require.Equal(t, like.RequestURI, r.RequestURI)
	require.Equal(t, like.Host, r.Host)
	require.Equal(t, like.RemoteAddr, r.RemoteAddr)
	require.Equal(t, like.ContentLength, r.ContentLength)

	var got webhook.Event
	srv := httptest.NewServer(route(v, &got))
	defer srv.Close()
	answered, err := do(srv.Client(), webhooktest.Request(t, v, srv.URL+"/hooks", e))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answered.status)
	require.Equal(t, "1", got.ID)

	for _, target := range []string{"", "hooks", "example.com/hooks", ":"} {
		said := judge(t, func(t testing.TB) { webhooktest.Request(t, v, target, e) })
		require.Contains(t, said, "neither a path", target)
	}
}

// A body that is there can be read twice, as after a redirect; one that is not
// has no length.
func TestRequest_Body(t *testing.T) {
	v := webhook.Must(provider.GitHub("text"))
	r := webhooktest.Request(t, v, "/", webhook.Event{ID: "1", Body: []byte(`{}`)})
	again, err := r.GetBody()
	require.NoError(t, err)
	for _, body := range []io.Reader{r.Body, again} {
		all, err := io.ReadAll(body)
		require.NoError(t, err)
		require.Equal(t, `{}`, string(all))
	}
	empty := webhooktest.Request(t, v, "/", webhook.Event{ID: "1"})
	require.Zero(t, empty.ContentLength)
	require.Equal(t, http.NoBody, empty.Body)
	var got webhook.Event
	require.Equal(t, http.StatusOK, serve(route(v, &got), empty))
}

func TestRequest_HeadersAreTheCallers(t *testing.T) {
	v := webhook.Must(provider.Shopify("hush"))
	headers := http.Header{"content-type": {"text/plain"}, "X-Shopify-Shop-Domain": {"a.myshopify.com"}}
	r := webhooktest.Request(t, v, "/", webhook.Event{ID: "1", Headers: headers})
	require.Equal(t, []string{"text/plain"}, r.Header["Content-Type"])
	require.Equal(t, "a.myshopify.com", r.Header.Get("X-Shopify-Shop-Domain"))
	r.Header["X-Shopify-Shop-Domain"][0] = "b"
	require.Len(t, headers, 2, "the event is not written to")
	require.Equal(t, "a.myshopify.com", headers.Get("X-Shopify-Shop-Domain"))
}

// The URL that is signed is the sender's, the one that is called the program's.
func TestRequest_SignsTheSendersURL(t *testing.T) {
	v := webhook.Must(acme("secret"))
	var got webhook.Event
	for _, target := range []string{"/hooks", "http://localhost:8080/hooks"} {
		require.Equal(t, http.StatusOK, serve(route(v, &got), webhooktest.Request(t, v, target, presets["acme"].event)), target)
	}
	moved := webhooktest.Request(t, v, "/hooks", presets["acme"].event)
	moved.URL.Path, moved.RequestURI = "/other", "/other"
	require.Equal(t, http.StatusUnauthorized, serve(route(v, &got), moved))

	v.BaseURL = ""
	said := judge(t, func(t testing.TB) { webhooktest.Request(t, v, "/hooks", presets["acme"].event) })
	require.Contains(t, said, "set Verifier.BaseURL")
}

func TestRequest_EveryValidSecretSigns(t *testing.T) {
	both := webhook.Must(provider.Stripe("whsec_new", "whsec_old"))
	for _, one := range []string{"whsec_new", "whsec_old"} {
		var got webhook.Event
		v := webhook.Must(provider.Stripe(one))
		require.Equal(t, http.StatusOK, serve(route(v, &got), webhooktest.Request(t, both, "/", presets["stripe"].event)), one)
	}
}

// secretsOf is a function for several tenants.
func secretsOf(secrets ...webhook.Secret) func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
	return func(context.Context, *webhook.Request) ([]webhook.Secret, error) { return secrets, nil }
}

func TestRequest_OfATenant(t *testing.T) {
	v := webhook.Must(provider.GitHub())
	v.Secrets = secretsOf(webhook.Secret{Value: "red's", Tenant: "red"}, webhook.Secret{Value: "blue's", Tenant: "blue"})
	for _, tenant := range []string{"red", "blue"} {
		var got webhook.Event
		e := webhook.Event{Tenant: tenant, ID: "1"}
		require.Equal(t, http.StatusOK, serve(route(v, &got), webhooktest.Request(t, v, "/", e)))
		require.Equal(t, tenant, got.Tenant)
	}
	said := judge(t, func(t testing.TB) { webhooktest.Request(t, v, "/", webhook.Event{Tenant: "green"}) })
	require.Contains(t, said, `none of 2 is of tenant "green"`)
	require.NotContains(t, said, "red's")
}

// Secrets is asked with the request that is signed, and the time.
func TestRequest_SecretsSeeTheRequest(t *testing.T) {
	v := webhook.Must(provider.GitHub())
	at := time.Now().Add(-time.Hour)
	asked := 0
	v.Secrets = func(_ context.Context, r *webhook.Request) ([]webhook.Secret, error) {
		asked++
		require.Equal(t, "/hooks", r.URL.Path)
		require.Equal(t, http.MethodPost, r.Method)
		require.Equal(t, "eu", r.Header.Get("X-Region"))
		require.Equal(t, at, r.Time)
		return []webhook.Secret{{Value: "text", Until: at.Add(time.Minute)}}, nil
	}
	e := webhook.Event{ID: "1", Headers: http.Header{"X-Region": {"eu"}}}
	r := webhooktest.RequestAt(t, v, "/hooks", e, at)
	require.NotZero(t, asked)
	require.NotEmpty(t, r.Header.Get("X-Hub-Signature-256"), "the secret was valid then")
}

// What is to be refused for another reason than its signature can be made.
func TestRequest_OthersAreNotRefused(t *testing.T) {
	v := webhook.Must(provider.GitHub("text"))
	v.BodyLimit = 10
	var got webhook.Event
	large := webhooktest.Request(t, v, "/", webhook.Event{ID: "1", Body: []byte(strings.Repeat("x", 11))})
	require.Equal(t, http.StatusRequestEntityTooLarge, serve(route(v, &got), large))

	slack := webhook.Must(provider.Slack("8f742231b10e8888abcd99baac0785a5"))
	handshake := webhooktest.Request(t, slack, "/", webhook.Event{Body: []byte(`{"type":"url_verification","challenge":"x"}`)})
	w := httptest.NewRecorder()
	route(slack, &got).ServeHTTP(w, handshake)
	require.Equal(t, "x", w.Body.String())

	open := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		return []webhook.Event{{ID: r.Header.Get("Id")}}, nil
	})
	open.Methods = []string{http.MethodPut, http.MethodPost}
	unsigned := webhooktest.Request(t, open, "/", webhook.Event{ID: "1", Headers: http.Header{"Id": {"1"}}})
	require.Equal(t, http.MethodPut, unsigned.Method)
	require.Equal(t, http.StatusOK, serve(route(open, &got), unsigned))
}

func TestRequest_EndsTheTest(t *testing.T) {
	_, public := signature.NewKeyPair()
	custom := func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
		if !r.Try(func(s webhook.Secret) bool { return r.Header.Get("Token") == s.Value }) {
			return nil, webhook.ErrSignature
		}
		return []webhook.Event{{ID: "1"}}, nil
	}
	for name, c := range map[string]struct {
		v    webhook.Verifier
		e    webhook.Event
		says string
	}{
		"another id in the body": {
			webhook.Must(provider.Stripe("whsec_test")),
			webhook.Event{ID: "evt_2", Body: []byte(`{"id":"evt_1"}`)},
			`the event's ID is "evt_2", and the request says "evt_1": this sender has it in the body`,
		},
		"no type in the body": {
			webhook.Must(provider.StandardWebhooks(whsec)),
			webhook.Event{ID: "msg_1", Type: "paid", Body: []byte(`{}`)},
			`the event's Type is "paid", and the request says ""`,
		},
		"a subject that is not told": {
			webhook.Must(provider.GitHub("text")),
			webhook.Event{ID: "1", Subject: "cus_1"},
			`the event's Subject is "cus_1"`,
		},
		"an id that cannot be": {
			webhook.Must(provider.StandardWebhooks(whsec)), webhook.Event{ID: "msg.1"}, `holds "."`,
		},
		"no id for a header that is signed": {
			webhook.Must(provider.StandardWebhooks(whsec)), webhook.Event{}, "Webhook-Id is missing",
		},
		"no Sign":    {webhook.Verifier{Check: custom, Secrets: secretsOf(webhook.Secret{Value: "x"})}, webhook.Event{}, "its Sign is nil"},
		"no Secrets": {webhook.Must(provider.Stripe()), webhook.Event{}, "has no Secrets"},
		"no secret":  {webhook.Verifier{Check: custom, Sign: noSign, Secrets: secretsOf()}, webhook.Event{}, "no secret for this request"},
		"secrets that fail": {
			webhook.Verifier{Check: custom, Sign: noSign, Secrets: func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
				return nil, errors.New("vault is sealed")
			}},
			webhook.Event{},
			"vault is sealed",
		},
		"a Sign that fails": {
			webhook.Verifier{Check: custom, Secrets: secretsOf(webhook.Secret{Value: "x"}), Sign: func(*webhook.Request, webhook.Event) error {
				return errors.New("no pen")
			}},
			webhook.Event{},
			"no pen",
		},
		"a Sign that does not fit": {
			webhook.Verifier{Check: custom, Sign: noSign, Secrets: secretsOf(webhook.Secret{Value: "x"})},
			webhook.Event{},
			"what Sign made of it is refused by Check",
		},
		"keyless, and minds": {
			webhook.Verifier{Keyless: true, Check: func(context.Context, *webhook.Request) ([]webhook.Event, error) {
				return nil, webhook.ErrSignature
			}},
			webhook.Event{},
			"refused by Check",
		},
		"a key that verifies alone": {
			webhook.Must(provider.StandardWebhooks(public)),
			webhook.Event{ID: "1"},
			"only the sender's private key signs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			said := judge(t, func(t testing.TB) {
				webhooktest.Request(t, c.v, "/hooks", c.e)
				t.Fatal("Request came back")
			})
			require.Contains(t, said, c.says)
			require.Contains(t, said, "webhooktest: request to /hooks: ")
			require.NotContains(t, said, "came back")
			require.NotContains(t, said, whsec)
		})
	}
}

func noSign(*webhook.Request, webhook.Event) error { return nil }
