package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// A handler that was there, and that its sender calls twice, works once.
func ExampleDeduplicate() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, e := range webhook.Events(r.Context()) {
			fmt.Println("shipped", e.ID)
		}
		w.WriteHeader(http.StatusAccepted)
	})
	keys := memory.New() // sqlite.Open(…), or three methods of one's own
	dedup := webhook.Deduplicate(keys, webhook.DedupConfig{Telemetry: quiet.Queue.Telemetry})
	route := webhook.Chain(webhook.Verify("shop", quietShop()), dedup)(handler)

	for _, id := range []string{"order_1", "order_1", "order_2"} {
		w := httptest.NewRecorder()
		route.ServeHTTP(w, order(id, "two apples"))
		fmt.Printf("%s: %d, duplicate %q\n", id, w.Code, w.Header().Get("Webhook-Duplicate"))
	}
	// Output:
	// shipped order_1
	// order_1: 202, duplicate ""
	// order_1: 200, duplicate "true"
	// shipped order_2
	// order_2: 202, duplicate ""
}

// Events go to a queue of one's own, and the sender is answered 200 when they are
// there.
func ExampleForward() {
	queue := make(chan webhook.Event, 1)
	publish := func(_ context.Context, events []webhook.Event) error {
		for _, e := range events {
			select {
			case queue <- e:
			default:
				return errors.New("the queue is full")
			}
		}
		return nil
	}
	route := webhook.Verify("shop", quietShop())(webhook.Forward(publish))

	for _, id := range []string{"order_1", "order_2"} {
		w := httptest.NewRecorder()
		route.ServeHTTP(w, order(id, "two apples"))
		fmt.Printf("%s: %d, again after %q s\n", id, w.Code, w.Header().Get("Retry-After"))
	}
	fmt.Println(len(queue), "in the queue")
	// Output:
	// order_1: 200, again after "" s
	// order_2: 503, again after "5" s
	// 1 in the queue
}

// quietShop is shop without a log.
func quietShop() webhook.Verifier {
	v := shop
	v.Telemetry = quiet.Queue.Telemetry
	return v
}
