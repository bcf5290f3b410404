package webhook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// quietly keeps log records out of the examples' output.
var quietly = webhook.QueueConfig{Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}}

// subscriber is somebody else's server. What it is sent, and all of the verifiers
// accept, comes out of the channel.
func subscriber(verifiers ...webhook.Verifier) (srv *httptest.Server, requests chan string) {
	requests = make(chan string, 10)
	var h http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		e := webhook.Events(r.Context())[0]
		requests <- fmt.Sprintf("%s %s: %s", e.Type, e.ID, e.Body)
	})
	for _, v := range verifiers {
		h = webhook.Verify("us", v)(h)
	}
	return httptest.NewServer(h), requests
}

// runOut runs out until all is done that is stored.
func runOut(out *webhook.Dispatcher) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- webhook.Run(ctx, out) }()
	for {
		s := webhook.Must(out.Queue().Stats(ctx))
		if s.Queued+s.Processing == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
}

// An event is stored with a delivery for each endpoint that wants it, and posted in
// the background.
func ExampleNewDispatcher() {
	secret := signature.NewSecret() // made once, and shown to the subscriber
	srv, requests := subscriber(webhook.Must(provider.StandardWebhooks(secret)))
	defer srv.Close()

	st := memory.New() // in a service: sqlite.Open
	defer st.Close()
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Queue: quietly,
		Endpoints: webhook.EndpointList{
			{ID: "ep_1", URL: srv.URL + "/hooks", Types: []string{"invoice.*"}, Secrets: []webhook.Secret{{Value: secret}}},
		},
		Guard: webhook.Guard{Development: true}, // http and loopback: in a service leave it out
	})
	if err != nil {
		panic(err)
	}
	stored, err := out.Send(context.Background(), webhook.Event{
		ID: "invoice-7-paid", Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid","data":{"id":7}}`),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("deliveries:", stored[0].Deliveries)

	runOut(out) // in a service: webhook.Run(ctx, out), for as long as it lives
	fmt.Println("received", <-requests)
	// Output:
	// deliveries: 1
	// received invoice.paid invoice-7-paid: {"type":"invoice.paid","data":{"id":7}}
}

// An ID of the caller's own makes sending idempotent: whoever does not know whether
// an event was sent sends it again.
func ExampleDispatcher_Send() {
	out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
		Queue: quietly,
		Endpoints: webhook.EndpointList{
			{ID: "ep_1", Tenant: "acme", URL: "https://acme.example/hooks", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}},
		},
	}))
	e := webhook.Event{ID: "invoice-7-paid", Type: "invoice.paid", Tenant: "acme", Body: []byte(`{"id":7}`)}
	for range 2 {
		stored, err := out.Send(context.Background(), e)
		fmt.Printf("%+v %v\n", stored[0], err)
	}
	e.Tenant = "globex" // which has no endpoint: no error, and the log says so
	stored, err := out.Send(context.Background(), e)
	fmt.Printf("%+v %v\n", stored[0], err)
	// Output:
	// {ID:invoice-7-paid Deliveries:1 Duplicate:false Changed:false} <nil>
	// {ID:invoice-7-paid Deliveries:1 Duplicate:true Changed:false} <nil>
	// {ID:invoice-7-paid Deliveries:0 Duplicate:false Changed:false} <nil>
}

// transactor is a store that has transactions, such as *sqlite.Store.
type transactor interface {
	Transact(ctx context.Context, f func(ctx context.Context, tx *sql.Tx, w store.Tx) error) error
}

// What is written and what is sent are one commit. With package store/sqlite this
// example runs: there it is that of Transact.
func ExampleDispatcher_SendIn() {
	pay := func(ctx context.Context, st transactor, out *webhook.Dispatcher, invoice int) error {
		return st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
			if _, err := tx.ExecContext(ctx, "UPDATE invoices SET paid = TRUE WHERE id = ?", invoice); err != nil {
				return err // and nothing is sent
			}
			_, err := out.SendIn(ctx, w, webhook.Event{
				ID: fmt.Sprintf("invoice-%d-paid", invoice), Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid"}`),
			})
			return err
		})
	}
	_ = pay // here is no database
}

// An event goes to the endpoints of exactly its tenant that want its type.
func ExampleEndpointList() {
	list := webhook.EndpointList{
		{ID: "all", Tenant: "acme"},
		{ID: "invoices", Tenant: "acme", Types: []string{"invoice.*", "order.paid"}},
		{ID: "globex", Tenant: "globex"},
	}
	for _, e := range []webhook.Event{
		{Tenant: "acme", Type: "invoice.paid"},
		{Tenant: "acme", Type: "order.shipped"},
		{Type: "invoice.paid"},
	} {
		ids, err := list.Match(context.Background(), nil, e)
		fmt.Println(ids, err)
	}
	// Output:
	// [all invoices] <nil>
	// [all] <nil>
	// [] <nil>
}

// Endpoints in a table of one's own: a query of one's own chooses them, and the
// function finds one when its turn has come. One that is gone by then is sent
// nothing.
func ExampleEndpointFunc() {
	secret := signature.NewSecret()
	srv, requests := subscriber(webhook.Must(provider.StandardWebhooks(secret)))
	defer srv.Close()
	table := map[string]webhook.Endpoint{
		"ep_1": {ID: "ep_1", URL: srv.URL, Secrets: []webhook.Secret{{Value: secret}}},
	}
	out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
		Queue: quietly,
		Endpoints: webhook.EndpointFunc(func(_ context.Context, id string) (webhook.Endpoint, error) {
			ep, ok := table[id]
			if !ok {
				return ep, webhook.ErrNotFound
			}
			return ep, nil
		}),
		Guard: webhook.Guard{Development: true},
	}))
	ctx := context.Background()
	chosen := []string{"ep_1", "ep_2"} // SELECT id FROM endpoints WHERE …; ep_2 is deleted since
	webhook.Must(out.Send(ctx, webhook.Event{ID: "1", Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid"}`), To: chosen}))
	runOut(out)
	fmt.Println("received", <-requests)
	for d, err := range out.Queue().Find(ctx, store.Filter{}) {
		fmt.Println(d.Destination, d.State, d.Reason, err)
	}
	// Output:
	// received invoice.paid 1: {"type":"invoice.paid"}
	// ep_1 processed  <nil>
	// ep_2 discarded endpoint deleted <nil>
}

// Check is for the form through which a customer enters an endpoint.
func ExampleDispatcher_Check() {
	out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{Endpoints: webhook.EndpointList{}}))
	for _, url := range []string{
		"https://hooks.example.com/acme",
		"http://hooks.example.com/acme",
		"https://169.254.169.254/latest",
		"https://10.0.0.7/",
	} {
		fmt.Println(out.Check(webhook.Endpoint{ID: "ep_1", URL: url, Secrets: []webhook.Secret{{Value: signature.NewSecret()}}}))
	}
	err := out.Check(webhook.Endpoint{ID: "ep_1", URL: "https://10.0.0.7/", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}})
	if wrong := (*webhook.EndpointError)(nil); errors.As(err, &wrong) {
		fmt.Println("to the customer:", wrong.Problem)
	}
	// Output:
	// <nil>
	// webhook: endpoint "ep_1": blocked: the scheme is http; Guard.Development allows http and loopback
	// webhook: endpoint "ep_1": blocked: 169.254.169.254: not a public address: link-local (RFC 3927), where clouds have their metadata service; to allow it, name its address in Guard.Allow
	// webhook: endpoint "ep_1": blocked: 10.0.0.7: not a public address: private use (RFC 1918); to allow it, name its address in Guard.Allow
	// to the customer: 10.0.0.7: not a public address: private use (RFC 1918)
}

// During a migration two schemes sign each request, side by side, so that
// subscribers change over when they like.
func ExampleDispatcherConfig_signers() {
	const before = "the secret that all subscribers had"
	old := webhook.Must(provider.GitHub(before))
	secret := signature.NewSecret()
	srv, requests := subscriber(old, webhook.Must(provider.StandardWebhooks(secret))) // this one checks both
	defer srv.Close()

	out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
		Queue: quietly,
		Endpoints: webhook.EndpointList{
			{ID: "ep_1", URL: srv.URL, Signers: []string{"standard", "before"}, Secrets: []webhook.Secret{{Value: secret}}},
		},
		Signers: map[string]webhook.Signer{
			"before": func(r *webhook.Request, e webhook.Event) error {
				own := *r // the endpoint's secrets are for "standard"
				own.Secrets = []webhook.Secret{{Value: before}}
				return old.Sign(&own, e)
			},
		},
		Guard: webhook.Guard{Development: true},
	}))
	webhook.Must(out.Send(context.Background(), webhook.Event{ID: "1", Type: "invoice.paid", Body: []byte(`{"type":"invoice.paid"}`)}))
	runOut(out)
	fmt.Println("received", <-requests)
	// Output:
	// received invoice.paid 1: {"type":"invoice.paid"}
}
