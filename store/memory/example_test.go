package memory_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// A store by itself: an event is added, claimed, and settled.
func Example() {
	ctx := context.Background()
	st := memory.New()
	defer func() { _ = st.Close() }() // never fails

	add := store.Add{
		Nonce:    [16]byte{1}, // random, in earnest
		Queue:    "inbox",
		Identity: sha256.Sum256([]byte("shop, order-7")),
		Record:   &store.Record{Source: "shop", ID: "order-7", Body: []byte(`{"paid":true}`)},
		To:       []store.Target{{Destination: "billing"}},
	}
	if _, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{add}}); err != nil {
		fmt.Println(err)
		return
	}

	due, err := st.Claim(ctx, "inbox", store.Claim{Free: map[string]int{"billing": 1}, Lease: 30 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range due {
		fmt.Printf("%s for %s, attempt %d: %s\n", d.Record.ID, d.Destination, d.Token, d.Record.Body)
		settle := store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed}
		res, err := st.Commit(ctx, &store.Batch{Settles: []store.Settle{settle}})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("done:", res.Settles[0] == store.Done)
	}
	// Output:
	// order-7 for billing, attempt 1: {"paid":true}
	// done: true
}
