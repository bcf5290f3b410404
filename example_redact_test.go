package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// What Redact leaves out is stored nowhere; the event is known by what came.
func ExampleInboxConfig_redact() {
	st := memory.New()
	defer st.Close()
	inbox := webhook.Must(webhook.NewInbox(st, webhook.InboxConfig{
		Queue: quiet.Queue,
		Redact: func(e webhook.Event) webhook.Event {
			e.Headers.Del("X-Customer-Email")
			var order map[string]any
			if err := json.Unmarshal(e.Body, &order); err != nil {
				e.Body = nil // what it is nobody knows
				return e
			}
			delete(order, "name")
			e.Body, _ = json.Marshal(order)
			return e
		},
	}))
	inbox.Handle("ship", func(context.Context, webhook.Event) error { return nil })

	order := webhook.Event{Source: "shop", ID: "1", Body: []byte(`{"name":"Ann","parcel":7}`), To: []string{"ship"}}
	for range 2 {
		stored, err := inbox.Add(context.Background(), order)
		if err != nil {
			panic(err)
		}
		fmt.Println("duplicate:", stored[0].Duplicate, "changed:", stored[0].Changed)
	}
	for found, err := range inbox.Queue().Find(context.Background(), store.Filter{}) {
		if err != nil {
			panic(err)
		}
		d, err := inbox.Queue().Get(context.Background(), found.ID)
		fmt.Println(string(d.Record.Body), err)
	}
	// Output:
	// duplicate: false changed: false
	// duplicate: true changed: false
	// {"parcel":7} <nil>
}
