package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// One process receives, another works: here both are in one, on one store.
func ExampleInboxConfig_elsewhere() {
	st := memory.New() // in two processes: sqlite.Open of one file
	defer st.Close()

	// The web process has no handler, and needs no Run.
	web := webhook.Must(webhook.NewInbox(st, webhook.InboxConfig{Queue: quiet.Queue, Elsewhere: []string{"billing"}}))
	shop := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		return []webhook.Event{{ID: "1", Body: r.Body}}, nil
	})
	route := webhook.Verify("shop", shop)(web.Receive("billing"))

	// The worker.
	worker := webhook.Must(webhook.NewInbox(st, quiet))
	done := make(chan string)
	worker.Handle("billing", func(_ context.Context, e webhook.Event) error {
		done <- string(e.Body)
		return nil
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- webhook.Run(ctx, worker) }()

	w := httptest.NewRecorder()
	route.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("invoice 7")))
	fmt.Println("answered", w.Code)
	fmt.Println("handled", <-done)
	stop()
	fmt.Println(<-ended)
	// Output:
	// answered 200
	// handled invoice 7
	// <nil>
}
