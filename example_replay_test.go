package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// shop is a sender whose requests are believed, so that the examples need not
// sign any: a real one is a preset of package provider.
var shop = webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
	return []webhook.Event{{ID: r.Header.Get("X-Shop-Id"), Type: "order.paid"}}, nil
})

// order is a request of the shop's.
func order(id, body string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/webhooks/acme?region=eu", strings.NewReader(body))
	r.Header.Set("X-Shop-Id", id)
	return r
}

// The requests of a handler that is there are answered once they are stored; it
// runs afterwards, until it answers 2xx.
func ExampleInbox_Acknowledge() {
	inbox := webhook.Must(webhook.NewInbox(memory.New(), quiet))
	var work sync.WaitGroup
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer work.Done()
		body, _ := io.ReadAll(r.Body)
		fmt.Println("handling", r.Method, r.URL, r.PathValue("tenant"), string(body))
		if string(body) == "unknown article" {
			http.Error(w, "no such article", http.StatusUnprocessableEntity)
		}
	})
	mux := http.NewServeMux()
	mux.Handle("/webhooks/{tenant}", webhook.Chain(
		webhook.Verify("shop", shop), // once, on arrival
		inbox.Acknowledge("orders"),
	)(orders))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, order("1", "two apples"))
	fmt.Println("answered", w.Code)

	work.Add(1)
	runFor(&work, inbox)
	// Output:
	// answered 200
	// handling POST /webhooks/acme?region=eu acme two apples
	// 1 processed  <nil>
}

// A Handler around it says what no status says: Permanent and Discard.
func ExampleHTTPHandler() {
	inbox := webhook.Must(webhook.NewInbox(memory.New(), quiet))
	var work sync.WaitGroup
	orders := webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such article", http.StatusUnprocessableEntity)
	}))
	inbox.Handle("orders", func(ctx context.Context, e webhook.Event) error {
		defer work.Done()
		return webhook.Permanent(orders(ctx, e)) // nil stays nil
	})
	webhook.Must(inbox.Add(context.Background(), webhook.Event{Source: "shop", ID: "1", To: []string{"orders"}}))
	work.Add(1)
	runFor(&work, inbox)
	// Output:
	// 1 dead permanent: webhook: the handler answered 422 Unprocessable Entity <nil>
}

// What a middleware found out about the request is carried to the handlers, which
// run without it.
func ExampleCarried() {
	c := quiet
	c.Carry = func(r *http.Request) map[string]string {
		return map[string]string{"region": r.URL.Query().Get("region")}
	}
	inbox := webhook.Must(webhook.NewInbox(memory.New(), c))
	var work sync.WaitGroup
	inbox.Handle("orders", func(ctx context.Context, e webhook.Event) error {
		defer work.Done()
		fmt.Println(e.ID, "from", webhook.Carried(ctx)["region"])
		return nil
	})
	webhook.Verify("shop", shop)(inbox.Receive("orders")).ServeHTTP(httptest.NewRecorder(), order("1", "{}"))
	work.Add(1)
	runFor(&work, inbox)
	// Output:
	// 1 from eu
	// 1 processed  <nil>
}

// Dead letters are looked at one by one, and those put back that can be handled by
// now.
func ExampleQueue_Find() {
	ctx := context.Background()
	inbox := webhook.Must(webhook.NewInbox(memory.New(), quiet))
	var work sync.WaitGroup
	inbox.Handle("orders", func(_ context.Context, e webhook.Event) error {
		defer work.Done()
		return e.Decode(new(int)) // a dead letter if it is no number
	})
	for id, body := range []string{`"s"`, `{}`} {
		webhook.Must(inbox.Add(ctx, webhook.Event{Source: "shop", ID: fmt.Sprint(id), Body: []byte(body), To: []string{"orders"}}))
	}
	work.Add(2)
	runFor(&work, inbox)

	queue := inbox.Queue()
	for found, err := range queue.Find(ctx, store.Filter{States: []store.State{store.Dead}}) {
		if err != nil {
			panic(err)
		}
		d := webhook.Must(queue.Get(ctx, found.ID)) // with headers, body and attempts
		e := webhook.Must(webhook.EventOf(d.Record))
		if !strings.HasPrefix(string(e.Body), `"`) {
			continue // the handler has learnt to read texts, and no more
		}
		n, _, err := queue.Redrive(ctx, store.Filter{IDs: []string{d.ID}}, "", 1)
		fmt.Println("redriven:", e.ID, n, err)
	}
	// Output:
	// 0 dead permanent: webhook: decode event: field "" at byte 3 does not fit int <nil>
	// 1 dead permanent: webhook: decode event: field "" at byte 1 does not fit int <nil>
	// redriven: 0 1 <nil>
}
