package memory

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/surehook/webhook/store"
)

// Once all is purged and forgotten, nothing of it is left in memory but the
// names of its destinations and tenants.
func TestPurge_LeavesNothing(t *testing.T) {
	ctx := context.Background()
	st := New()
	for n := range 2000 {
		id := byte(n)
		a := store.Add{
			Nonce: [16]byte{id, byte(n >> 8)}, Queue: "q", Identity: [32]byte{id, byte(n >> 8)}, Keys: [][32]byte{{id, byte(n >> 8), 1}},
			Record: &store.Record{}, Known: time.Hour,
		}
		if n%10 > 0 {
			a.To = []store.Target{{Destination: "d", OrderKey: fmt.Sprint(n % 7 * n), Lease: time.Minute}}
		}
		_, err := st.Commit(ctx, &store.Batch{
			Adds:  []store.Add{a},
			Holds: []store.Hold{{Queue: "q", Destination: "d", OrderKey: fmt.Sprint("held", n), Kind: store.Slowed, For: time.Hour}},
		})
		require.NoError(t, err)
	}
	st.Advance(2 * time.Minute) // the leases that were born run out
	for {
		ds, err := st.Claim(ctx, "q", store.Claim{Other: 1000, Lease: time.Minute})
		require.NoError(t, err)
		var b store.Batch
		for _, d := range ds {
			to := []store.State{store.Processed, store.Dead, store.Discarded}[b.Len()%3]
			b.Settles = append(b.Settles, store.Settle{Delivery: d.ID, Token: d.Token, To: to, Unblock: true})
		}
		_, err = st.Commit(ctx, &b)
		require.NoError(t, err)
		if len(ds) == 0 {
			break
		}
	}
	st.Advance(2 * time.Hour)
	for {
		n, err := st.Purge(ctx, "q", store.Retention{Processed: time.Hour, Dead: time.Hour})
		require.NoError(t, err)
		require.LessOrEqual(t, n, purgeMax)
		if n == 0 {
			break
		}
	}

	q := st.queues["q"]
	d := q.dests["d"]
	for name, n := range map[string]int{
		"known": len(st.known), "deliveries": len(st.deliveries), "all": len(q.all),
		"held": len(q.held), "keys": len(d.keys), "held keys": len(d.heldKeys),
		"ready": q.ready.len(), "waiting": q.waiting.len(), "finished": q.finished.len(), "dead": q.dead.len(), "forget": q.forget.len(),
		"queued": q.figures.queued.len(), "queued there": d.figures.queued.len(), "blocked": q.figures.blocked.len(),
		"ready lanes": d.ready.len(), "waiting lanes": d.waiting.len(), "work": d.lanes[""].work.len(),
		"processing": q.figures.processing, "died": d.figures.died,
	} {
		require.Zero(t, n, name)
	}
}
