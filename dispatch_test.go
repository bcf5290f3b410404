package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

func TestSend_EachEndpointThatWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{},
			webhook.Endpoint{ID: "all", Tenant: "acme"},
			webhook.Endpoint{ID: "invoices", Tenant: "acme", Types: []string{"order.paid", "invoice.*"}},
			webhook.Endpoint{ID: "orders", Tenant: "acme", Types: []string{"order.*"}},
			webhook.Endpoint{ID: "other", Tenant: "globex"},
			webhook.Endpoint{ID: "nobodys"},
		)
		o.run()
		stored := o.send(
			webhook.Event{ID: "1", Tenant: "acme", Type: "invoice.paid", Body: []byte("one")},
			webhook.Event{ID: "2", Tenant: "globex", Type: "invoice.paid", Body: []byte("two")},
			webhook.Event{ID: "3", Tenant: "initech", Type: "invoice.paid"},
			webhook.Event{ID: "4", Tenant: "acme", Type: "invoice.paid", To: []string{"nobodys", "nobodys"}},
		)
		require.Equal(t, []webhook.Stored{{ID: "1", Deliveries: 2}, {ID: "2", Deliveries: 1}, {ID: "3"}, {ID: "4", Deliveries: 1}}, stored)
		synctest.Wait()
		got := map[string][]string{}
		for _, p := range o.net.posts() {
			got[p.header.Get("Webhook-Id")] = append(got[p.header.Get("Webhook-Id")], p.url)
		}
		require.ElementsMatch(t, []string{"https://all.example/hooks", "https://invoices.example/hooks"}, got["1"])
		require.Equal(t, []string{"https://other.example/hooks"}, got["2"])
		require.Equal(t, []string{"https://nobodys.example/hooks"}, got["4"])
		require.Len(t, got, 3)
		require.NotEmpty(t, o.logs.having(t, "event_id", "3"), "that nobody wants it is visible")
	})
}

// What is sent verifies as Standard Webhooks: the id is the same at each attempt,
// the time is that of the attempt.
func TestSend_SignedAnewAtEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := signature.NewSecret()
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a", Secrets: []webhook.Secret{{Value: secret}}})
		o.net.answer = first(3, http.StatusInternalServerError)
		o.run()
		o.send(webhook.Event{Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid"}`)})
		pass(24 * time.Hour)
		require.Equal(t, store.Processed, o.only().State)
		posts := o.net.posts()
		require.Len(t, posts, 4)
		verifier := webhook.Must(provider.StandardWebhooks(secret))
		for _, p := range posts {
			require.Equal(t, http.MethodPost, p.method)
			require.Equal(t, "application/json", p.header.Get("Content-Type"))
			events, err := verifier.Verify(t.Context(), &webhook.Request{Method: p.method, Header: p.header, Body: []byte(p.body), Time: p.at})
			require.NoError(t, err)
			require.Equal(t, posts[0].header.Get("Webhook-Id"), events[0].ID)
			require.Equal(t, "invoice.paid", events[0].Type)
		}
		require.NotEqual(t, posts[0].header.Get("Webhook-Timestamp"), posts[3].header.Get("Webhook-Timestamp"))
		require.Regexp(t, `^msg_[A-Z2-7]{26}$`, posts[0].header.Get("Webhook-Id"))
	})
}

func TestSend_AgainAddsOnlyWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := webhook.EndpointList{{ID: "a", URL: "https://a.example"}, {ID: "b", URL: "https://b.example"}}
		for i := range list {
			list[i].Secrets = []webhook.Secret{{Value: signature.NewSecret()}}
		}
		o := newOutbox(t, webhook.DispatcherConfig{Endpoints: list})
		o.run()
		e := webhook.Event{ID: "1", Body: []byte("one"), To: []string{"a"}}
		require.Equal(t, webhook.Stored{ID: "1", Deliveries: 1}, o.send(e)[0])
		require.Equal(t, webhook.Stored{ID: "1", Deliveries: 1, Duplicate: true}, o.send(e)[0])
		e.To = nil
		require.Equal(t, webhook.Stored{ID: "1", Deliveries: 2}, o.send(e)[0])
		e.Body = []byte("two")
		require.Equal(t, webhook.Stored{ID: "1", Deliveries: 2, Duplicate: true, Changed: true}, o.send(e)[0])
		pass(time.Second)
		require.Len(t, o.net.posts(), 2)
		for _, p := range o.net.posts() {
			require.Equal(t, "one", p.body)
		}
	})
}

// A commit whose outcome is unknown is tried again under the same id.
func TestSend_UnknownCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New()
		faulty := &faultyStore{Store: mem}
		out, err := webhook.NewDispatcher(faulty, webhook.DispatcherConfig{
			Endpoints: webhook.EndpointFunc(func(context.Context, string) (webhook.Endpoint, error) { return webhook.Endpoint{}, nil }),
		})
		require.NoError(t, err)
		tries := 0
		faulty.commit = func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			res, err := real(ctx, b)
			if tries++; tries <= 2 {
				return nil, errors.New("connection reset") // it was made, and nobody knows
			}
			return res, err
		}
		stored, err := out.Send(t.Context(), webhook.Event{To: []string{"a"}})
		require.NoError(t, err)
		require.False(t, stored[0].Duplicate)
		n, err := out.Queue().Count(t.Context(), store.Filter{}, 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

func TestSend_RefusedBeforeAnythingIsTouched(t *testing.T) {
	untouched := webhook.EndpointFunc(nil) // a call would panic
	out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{Endpoints: matchPanics{untouched}}))
	for name, bad := range map[string]webhook.Event{
		"a dot":                  {ID: "a.b"},
		"a space":                {ID: "a b"},
		"a newline":              {ID: "a\n"},
		"a NUL":                  {ID: "\x00"},
		"DEL":                    {ID: "\x7f"},
		"not ASCII":              {ID: "é"},
		"too long":               {ID: strings.Repeat("a", 257)},
		"webhook-id":             {ID: "1", Headers: http.Header{"Webhook-Id": {"2"}}},
		"webhook in any case":    {ID: "1", Headers: http.Header{"webhook-Signature": {"2"}}},
		"host":                   {ID: "1", Headers: http.Header{"host": {"internal"}}},
		"length":                 {ID: "1", Headers: http.Header{"Content-Length": {"0"}}},
		"framing":                {ID: "1", Headers: http.Header{"Transfer-Encoding": {"chunked"}}},
		"CR LF in a value":       {ID: "1", Headers: http.Header{"X-A": {"b\r\nX-C: d"}}},
		"CR LF in a name":        {ID: "1", Headers: http.Header{"X-A: b\r\nX-C": {"d"}}},
		"NUL in a value":         {ID: "1", Headers: http.Header{"X-A": {"\x00"}}},
		"an empty name":          {ID: "1", Headers: http.Header{"": {"d"}}},
		"a time in another unit": {ID: "1", Time: time.Unix(1700000000000, 0)},
		"a long endpoint":        {ID: "1", To: []string{"a", strings.Repeat("b", 4<<10+1)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := out.Send(t.Context(), webhook.Event{ID: "good"}, bad)
			require.ErrorIs(t, err, webhook.ErrMalformed)
			require.ErrorContains(t, err, "event 1")
			_, err = out.SendIn(t.Context(), noTx{}, bad)
			require.ErrorIs(t, err, webhook.ErrMalformed)
		})
	}
}

// A list knows all its endpoints: an ID that is none of theirs is a typo, and the event
// would be lost. Of others nobody is asked.
func TestSend_ToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a"})
		typo := webhook.Event{ID: "1", To: []string{"a", "ty\npo"}}
		commits, _, _ := o.st.used()
		_, err := o.out.Send(t.Context(), webhook.Event{ID: "good"}, typo)
		require.ErrorIs(t, err, webhook.ErrMalformed)
		require.EqualError(t, err, `webhook: send event 1: webhook: malformed request: its To names "ty\\npo", and the EndpointList has no endpoint of this ID`)
		_, err = o.out.SendIn(t.Context(), noTx{}, typo)
		require.ErrorIs(t, err, webhook.ErrMalformed)
		after, _, _ := o.st.used()
		require.Equal(t, commits, after)
		require.Empty(t, o.deliveries())

		table := webhook.EndpointFunc(func(context.Context, string) (webhook.Endpoint, error) {
			return webhook.Endpoint{}, webhook.ErrNotFound
		})
		other := newOutbox(t, webhook.DispatcherConfig{Endpoints: table})
		other.run()
		require.Equal(t, 2, other.send(typo)[0].Deliveries)
		synctest.Wait()
		for _, d := range other.deliveries() {
			require.Equal(t, store.Discarded, d.State)
			require.Equal(t, []string{store.OutcomeProcessed, "discarded"}, []string{d.Attempts[0].Outcome, d.Attempts[0].Class}, "as docs/observability.md says")
		}
	})
}

// matchPanics are endpoints that are not to be asked.
type matchPanics struct{ webhook.EndpointFunc }

func (matchPanics) Match(context.Context, store.Tx, webhook.Event) ([]string, error) {
	panic("Match was called")
}

// What a sender told this program is not for others: of an event that was received
// the body and its type go on.
func TestSend_PassesOnWhatWasReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a"})
		o.run()
		shop := webhook.Must(provider.Shopify("secret of the shop"))
		var received []webhook.Event
		h := webhook.Verify("shop", shop)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received = webhook.Events(r.Context()) }))
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"a":1}`))
		r.Header.Set("Content-Type", "application/vnd.shop+json")
		signed := &webhook.Request{Header: r.Header, Body: []byte(`{"a":1}`), Secrets: []webhook.Secret{{Value: "secret of the shop"}}}
		require.NoError(t, shop.Sign(signed, webhook.Event{ID: "order-1", Type: "orders/paid"}))
		r.Header.Set("X-Shopify-Shop-Domain", "shop.example")
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.Len(t, received, 1)
		require.NotEmpty(t, received[0].Headers.Get("X-Shopify-Shop-Domain"), "it is kept")

		own := webhook.Event{ID: "own", Headers: http.Header{"X-Region": {"eu"}}, Body: []byte("{}")}
		o.send(received[0], own)
		synctest.Wait()
		for _, p := range o.net.posts() {
			require.Empty(t, p.header.Get("X-Shopify-Shop-Domain"))
			switch p.header.Get("Webhook-Id") {
			case "own":
				require.Equal(t, "eu", p.header.Get("X-Region"))
			default:
				require.Equal(t, `{"a":1}`, p.body)
				require.Equal(t, "application/vnd.shop+json", p.header.Get("Content-Type"))
			}
		}
		require.Len(t, o.net.posts(), 2)
	})
}

// noTx is a transaction that nothing may be written to.
type noTx struct{}

func (noTx) Write(context.Context, *store.Batch) (*store.Results, error) {
	panic("written before it was refused")
}

func TestSend_QueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{Queue: webhook.QueueConfig{MaxDepth: 1}}, webhook.Endpoint{ID: "a"})
		o.send(webhook.Event{ID: "1"}) // nothing runs
		pass(2 * time.Second)
		_, err := o.out.Send(t.Context(), webhook.Event{ID: "2"})
		require.ErrorIs(t, err, webhook.ErrQueueFull)
		_, err = o.out.SendIn(t.Context(), noTx{}, webhook.Event{ID: "2"})
		require.ErrorIs(t, err, webhook.ErrQueueFull, "before any statement")
		require.Len(t, o.deliveries(), 1)
	})
}

func TestSend_InsideATransaction(t *testing.T) {
	out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{Endpoints: matchPanics{}}))
	_, err := out.Send(store.InTx(t.Context()), webhook.Event{})
	require.ErrorIs(t, err, store.ErrInTransaction)
	require.ErrorContains(t, err, "use SendIn")
}

func TestSend_MatchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("table is locked")
		o := newOutbox(t, webhook.DispatcherConfig{Endpoints: matchFails{err: down}})
		_, err := o.out.Send(t.Context(), webhook.Event{ID: "1"})
		require.ErrorIs(t, err, down)
		require.Empty(t, o.deliveries())
		o = newOutbox(t, webhook.DispatcherConfig{Endpoints: matchFails{ids: []string{strings.Repeat("b", 4<<10+1)}}})
		_, err = o.out.Send(t.Context(), webhook.Event{ID: "1"})
		require.ErrorContains(t, err, "an endpoint's ID has 4097 bytes")
		require.Empty(t, o.deliveries())
	})
}

type matchFails struct {
	webhook.EndpointFunc
	ids []string
	err error
}

func (m matchFails) Match(context.Context, store.Tx, webhook.Event) ([]string, error) {
	return m.ids, m.err
}

func TestNewDispatcher_Refuses(t *testing.T) {
	good := func() webhook.Endpoint {
		return webhook.Endpoint{ID: "a", URL: "https://a.example/", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}
	}
	_, public := signature.NewKeyPair()
	for name, c := range map[string]struct {
		change func(ep *webhook.Endpoint)
		says   string
	}{
		"no id":              {func(ep *webhook.Endpoint) { ep.ID = "" }, "no ID"},
		"no secret":          {func(ep *webhook.Endpoint) { ep.Secrets = nil }, "no secret"},
		"expired secret":     {func(ep *webhook.Endpoint) { ep.Secrets[0].Until = time.Unix(1, 0) }, "no secret"},
		"raw secret":         {func(ep *webhook.Endpoint) { ep.Secrets[0].Value = "hunter2" }, "whsec_"},
		"public key":         {func(ep *webhook.Endpoint) { ep.Secrets[0].Value = public }, "whsk_"},
		"unknown signer":     {func(ep *webhook.Endpoint) { ep.Signers = []string{"standart"} }, "standart"},
		"http":               {func(ep *webhook.Endpoint) { ep.URL = "http://a.example/" }, "Development"},
		"loopback":           {func(ep *webhook.Endpoint) { ep.URL = "https://127.0.0.1/" }, "Development"},
		"private":            {func(ep *webhook.Endpoint) { ep.URL = "https://10.0.0.1/" }, "Allow"},
		"userinfo":           {func(ep *webhook.Endpoint) { ep.URL = "https://user:hunter2@a.example/" }, "user"},
		"fragment":           {func(ep *webhook.Endpoint) { ep.URL = "https://a.example/#x" }, "fragment"},
		"no url":             {func(ep *webhook.Endpoint) { ep.URL = "" }, ""},
		"port":               {func(ep *webhook.Endpoint) { ep.URL = "https://a.example:22/" }, "Ports"},
		"star in the midst":  {func(ep *webhook.Endpoint) { ep.Types = []string{"a.*.b"} }, "a.*.b"},
		"header":             {func(ep *webhook.Endpoint) { ep.Headers = http.Header{"webhook-id": {"x"}} }, "Webhook-Id"},
		"timeout":            {func(ep *webhook.Endpoint) { ep.Timeout = -1 }, "Timeout"},
		"retry":              {func(ep *webhook.Endpoint) { ep.Retry.Factor = .5 }, "Retry"},
		"signer that panics": {func(ep *webhook.Endpoint) { ep.Signers = []string{"panics"} }, "signer panics"},
		"signer's secret":    {func(ep *webhook.Endpoint) { ep.Signers = []string{"stripe"}; ep.Secrets[0].Value = " " }, "whsec_"},
	} {
		t.Run(name, func(t *testing.T) {
			ep := good()
			c.change(&ep)
			signers := map[string]webhook.Signer{
				"panics": func(*webhook.Request, webhook.Event) error { panic("hunter2") },
				"stripe": webhook.Must(provider.Stripe("whsec_x")).Sign,
			}
			_, err := webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{Endpoints: webhook.EndpointList{ep}, Signers: signers})
			out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{Endpoints: webhook.EndpointList{}, Signers: signers}))
			for _, err := range []error{err, out.Check(ep)} {
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "hunter2")
				require.Equal(t, 1, strings.Count(err.Error(), "webhook: "), err)
				var wrong *webhook.EndpointError
				require.ErrorAs(t, err, &wrong)
				require.Equal(t, ep.ID, wrong.ID)
				require.NotEmpty(t, wrong.Problem)
				require.NotContains(t, wrong.Problem, "Guard", "it is the customer's, the setting is not")
				require.NotContains(t, wrong.Problem, "webhook: ")
				require.Contains(t, err.Error(), wrong.Problem)
				require.Equal(t, strings.Contains(err.Error(), "Guard."), wrong.Setting != "")
				require.Contains(t, err.Error(), wrong.Setting)
			}
			require.NoError(t, out.Check(good()))
		})
	}
}

func TestNewDispatcher_RefusesConfig(t *testing.T) {
	ep := webhook.Endpoint{ID: "a", URL: "https://a.example/", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}
	list := webhook.EndpointList{ep}
	for says, c := range map[string]webhook.DispatcherConfig{
		"two endpoints":       {Endpoints: webhook.EndpointList{ep, ep}},
		"Endpoints is nil":    {},
		"EndpointFunc is nil": {Endpoints: webhook.EndpointFunc(nil)},
		`signer "standard"`:   {Endpoints: list, Signers: map[string]webhook.Signer{"standard": nil}},
		`signer "old" is nil`: {Endpoints: list, Signers: map[string]webhook.Signer{"old": nil}},
		"PerEndpoint":         {Endpoints: list, PerEndpoint: -1},
		"Permanent has 42":    {Endpoints: list, Permanent: []int{42}},
		"Permanent has 200":   {Endpoints: list, Permanent: []int{404, 200}},
		"Timeout is -1ns":     {Endpoints: list, Queue: webhook.QueueConfig{Timeout: -1}},
		"Guard.Ports":         {Endpoints: list, Guard: webhook.Guard{Ports: []uint16{0}}},
		"Guard.Allow":         {Endpoints: list, Guard: webhook.Guard{Allow: []netip.Prefix{{}}}},
	} {
		_, err := webhook.NewDispatcher(memory.New(), c)
		require.ErrorContains(t, err, says)
		require.Equal(t, 1, strings.Count(err.Error(), "webhook: "), err)
	}
	_, err := webhook.NewDispatcher(nil, webhook.DispatcherConfig{Endpoints: list})
	require.ErrorContains(t, err, "store is nil")
}
