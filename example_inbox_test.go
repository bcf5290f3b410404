package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// quiet keeps log records out of the examples' output.
var quiet = webhook.InboxConfig{Queue: webhook.QueueConfig{
	Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)},
}}

// A request is answered when its event is durable; the handler runs afterwards,
// until it succeeds.
func ExampleInbox() {
	st := memory.New() // in a service: sqlite.Open
	defer st.Close()
	inbox, err := webhook.NewInbox(st, quiet)
	if err != nil {
		panic(err)
	}
	handled := make(chan struct{})
	inbox.HandleWith("billing", func(ctx context.Context, e webhook.Event) error {
		if d, _ := webhook.Current(ctx); d.Token == 1 {
			return errors.New("the ledger is down") // tried again, a little later
		}
		fmt.Println("handled", e.Type, string(e.Body))
		close(handled)
		return nil
	}, webhook.HandlerConfig{Retry: webhook.RetryPolicy{Delays: []time.Duration{time.Millisecond}}})

	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	shop, err := provider.StandardWebhooks(secret)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/webhooks/shop", webhook.Verify("shop", shop)(inbox.Receive("billing")))

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- webhook.Run(ctx, inbox) }()

	// The sender's part: a request that it signed, sent twice.
	body := `{"type":"invoice.paid"}`
	signed := &webhook.Request{Body: []byte(body), Secrets: []webhook.Secret{{Value: secret}}}
	if err := shop.Sign(signed, webhook.Event{ID: "msg_1"}); err != nil {
		panic(err)
	}
	for range 2 {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks/shop", strings.NewReader(body))
		r.Header = signed.Header
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println("answered", w.Code)
	}
	<-handled
	stop()
	fmt.Println("drained:", <-ended)
	// Unordered output:
	// answered 200
	// answered 200
	// handled invoice.paid {"type":"invoice.paid"}
	// drained: <nil>
}

// Add is the way in for events that did not come over net/http.
func ExampleInbox_Add() {
	ctx := context.Background()
	inbox := webhook.Must(webhook.NewInbox(memory.New(), quiet))
	inbox.Handle("billing", func(context.Context, webhook.Event) error { return nil })

	e := webhook.Event{Source: "kafka", ID: "orders/7/42", Body: []byte("{}"), To: []string{"billing"}}
	for range 2 {
		stored, err := inbox.Add(ctx, e)
		fmt.Printf("%+v %v\n", stored[0], err)
	}
	// Output:
	// {ID:orders/7/42 Deliveries:1 Duplicate:false Changed:false} <nil>
	// {ID:orders/7/42 Deliveries:1 Duplicate:true Changed:false} <nil>
}

// The error of Decode may be returned as it is: what cannot be decoded will not
// be by trying again, and is a dead letter at once.
func ExampleEvent_Decode() {
	type invoice struct {
		Amount int `json:"amount"`
	}
	handler := func(_ context.Context, e webhook.Event) error {
		var i invoice
		if err := e.Decode(&i); err != nil {
			return err
		}
		fmt.Println("amount:", i.Amount)
		return nil
	}
	for _, body := range []string{`{"amount": 4200}`, `{"amount": "secret"}`, `{"amount"`} {
		if err := handler(context.Background(), webhook.Event{Body: []byte(body)}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// amount: 4200
	// webhook: decode event: field "amount" at byte 19 does not fit int
	// webhook: decode event: invalid JSON at byte 9 of 9
}

// runFor runs inbox until work is done and settled, and tells what became of its
// deliveries.
func runFor(work *sync.WaitGroup, inbox *webhook.Inbox) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- inbox.Run(ctx) }()
	work.Wait()
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
	for d, err := range inbox.Queue().Find(context.Background(), store.Filter{}) {
		fmt.Println(d.Record.ID, d.State, d.Reason, err)
	}
}

// A failure that no retry would mend ends the delivery at once: it waits for a
// person, as a dead letter.
func ExamplePermanent() {
	inbox := webhook.Must(webhook.NewInbox(memory.New(), quiet))
	var work sync.WaitGroup
	inbox.Handle("billing", func(_ context.Context, e webhook.Event) error {
		defer work.Done()
		if e.Subject == "" {
			return webhook.Permanent(errors.New("no customer"))
		}
		return nil
	})
	webhook.Must(inbox.Add(context.Background(),
		webhook.Event{Source: "shop", ID: "1", Subject: "cus_1", To: []string{"billing"}},
		webhook.Event{Source: "shop", ID: "2", To: []string{"billing"}}))
	work.Add(2)
	runFor(&work, inbox)
	// Output:
	// 1 processed  <nil>
	// 2 dead permanent: no customer <nil>
}

// What asks for patience gets it, and the budget of failures is not touched.
func ExampleRetryAfter() {
	handler := func(context.Context, webhook.Event) error {
		limited, reset := true, 30*time.Second // what the ledger answered
		if limited {
			return webhook.RetryAfter(reset, errors.New("the ledger's limit is reached"))
		}
		return nil
	}
	fmt.Println(handler(context.Background(), webhook.Event{}))
	// Output:
	// the ledger's limit is reached
}

// What there is nothing to do about is no failure.
func ExampleDiscard() {
	inbox := webhook.Must(webhook.NewInbox(memory.New(), quiet))
	var work sync.WaitGroup
	inbox.Handle("billing", func(context.Context, webhook.Event) error {
		defer work.Done()
		return webhook.Discard("sent in test mode")
	})
	webhook.Must(inbox.Add(context.Background(), webhook.Event{Source: "shop", ID: "1", To: []string{"billing"}}))
	work.Add(1)
	runFor(&work, inbox)
	// Output:
	// 1 discarded sent in test mode <nil>
}

// When the cause is mended, dead letters are put back in the queue, a part at a
// time.
func ExampleQueue_Redrive() {
	ctx := context.Background()
	inbox := webhook.Must(webhook.NewInbox(memory.New(), quiet))
	var work sync.WaitGroup
	inbox.Handle("billing", func(context.Context, webhook.Event) error {
		defer work.Done()
		return webhook.Permanent(errors.New("the ledger is down"))
	})
	for i := range 5 {
		webhook.Must(inbox.Add(ctx, webhook.Event{Source: "shop", ID: fmt.Sprint(i), To: []string{"billing"}}))
	}
	work.Add(5)
	runFor(&work, inbox)

	queue := inbox.Queue() // elsewhere: webhook.NewQueue(st, "inbox")
	dead := store.Filter{Destination: "billing", States: []store.State{store.Dead}}
	for after := ""; ; {
		n, next, err := queue.Redrive(ctx, dead, after, 2)
		if err != nil {
			panic(err)
		}
		fmt.Println("redriven:", n)
		if next == "" {
			break
		}
		after = next
	}
	left, err := queue.Count(ctx, dead, 1000)
	fmt.Println("dead:", left, err)
	// Output:
	// 0 dead permanent: the ledger is down <nil>
	// 1 dead permanent: the ledger is down <nil>
	// 2 dead permanent: the ledger is down <nil>
	// 3 dead permanent: the ledger is down <nil>
	// 4 dead permanent: the ledger is down <nil>
	// redriven: 2
	// redriven: 2
	// redriven: 1
	// dead: 0 <nil>
}

// Each zero field keeps its default; a policy is a pure function of the attempt.
func ExampleRetryPolicy() {
	show := func(name string, p webhook.RetryPolicy) {
		fmt.Print(name, ":")
		for attempt := 1; ; attempt++ {
			delay, ok := p.Next(attempt, 0.5) // in the middle of the jitter's interval
			if !ok {
				break
			}
			fmt.Print(" ", delay)
		}
		fmt.Println()
	}
	show("default", webhook.RetryPolicy{})
	show("three attempts", webhook.RetryPolicy{Attempts: 3})
	show("a schedule, ± 20 %", webhook.RetryPolicy{
		Attempts: 5,
		Delays:   []time.Duration{time.Second, time.Minute, time.Hour},
		Jitter:   [2]float64{0.8, 1.2},
	})
	show("cenkalti/backoff", webhook.BackOff(func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Minute), 2)
	}))
	// Output:
	// default: 2.5s 10s 40s 2m40s 10m40s 30m0s 30m0s
	// three attempts: 2.5s 10s
	// a schedule, ± 20 %: 1s 1m0s 1h0m0s 1h0m0s
	// cenkalti/backoff: 1m0s 1m0s
}
