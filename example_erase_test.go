package webhook_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// A person asks to be forgotten: what events about them carry is emptied, what was
// still to be done is not, and the sender's retry does not bring it back.
func ExampleQueue_Erase() {
	st := memory.New()
	defer st.Close()
	inbox := webhook.Must(webhook.NewInbox(st, quiet))
	inbox.Handle("crm", func(context.Context, webhook.Event) error { return nil })
	ctx := context.Background()
	about := func(subject, id string) webhook.Event {
		return webhook.Event{Source: "shop", ID: id, Subject: subject, Body: []byte("about " + subject), To: []string{"crm"}}
	}
	if _, err := inbox.Add(ctx, about("ann", "1"), about("bob", "2"), about("ann", "3")); err != nil {
		panic(err)
	}

	queue := webhook.NewQueue(st, "inbox")
	n, err := queue.Erase(ctx, store.Filter{Subject: "ann"})
	if errors.Is(err, store.ErrRetry) {
		panic("some are being handled at this moment: call again")
	}
	fmt.Println("erased", n, err)
	for found, err := range queue.Find(ctx, store.Filter{}) {
		if err != nil {
			panic(err)
		}
		d, err := queue.Get(ctx, found.ID)
		fmt.Printf("%s %s %q %s %v\n", d.Record.ID, d.State, d.Record.Body, d.Reason, err)
	}
	again, err := inbox.Add(ctx, about("ann", "1"))
	fmt.Println("duplicate:", again[0].Duplicate, err)
	// Output:
	// erased 2 <nil>
	// 1 discarded "" erased <nil>
	// 2 queued "about bob"  <nil>
	// 3 discarded "" erased <nil>
	// duplicate: true <nil>
}
