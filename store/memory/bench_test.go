package memory_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// BenchmarkStore is one event's way: added with a born lease, settled as
// processed, purged.
func BenchmarkStore(b *testing.B) {
	ctx := context.Background()
	st := memory.New()
	record := &store.Record{Source: "bench", ID: "1", Body: make([]byte, 1024)}
	to := []store.Target{{Destination: "work", Lease: time.Minute}}
	attempt := &store.Attempt{Outcome: store.OutcomeProcessed}
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		a := store.Add{Queue: "inbox", Record: record, To: to}
		binary.BigEndian.PutUint64(a.Nonce[:], n)
		binary.BigEndian.PutUint64(a.Identity[:], n)
		res, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{a}})
		if err != nil {
			b.Fatal(err)
		}
		d := res.Adds[0].Deliveries[0]
		res, err = st.Commit(ctx, &store.Batch{Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: store.Processed, Attempt: attempt}}})
		if err != nil || res.Settles[0] != store.Done {
			b.Fatal(res, err)
		}
		if n%256 == 0 {
			purgeAll(b, st, store.Retention{Processed: time.Nanosecond})
		}
	}
}

// BenchmarkClaim leases 64 of 64 destinations that are due, and hands them back,
// beside what a claim must not look at.
func BenchmarkClaim(b *testing.B) {
	for _, beside := range []struct {
		name string
		n    int
		hold bool
	}{{"Alone", 0, false}, {"BesideOthers", 100_000, false}, {"BesideHeld", 100_000, true}} {
		b.Run(beside.name, func(b *testing.B) {
			ctx := context.Background()
			st := memory.New()
			add := func(n int, tenant, destination string) {
				a := store.Add{Queue: "inbox", Record: &store.Record{Tenant: tenant}, To: []store.Target{{Destination: destination}}}
				binary.BigEndian.PutUint64(a.Nonce[:], uint64(n))
				binary.BigEndian.PutUint64(a.Identity[:], uint64(n))
				if _, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{a}}); err != nil {
					b.Fatal(err)
				}
			}
			c := store.Claim{Free: map[string]int{}, Max: 64, Lease: time.Minute}
			for i := range 64 {
				name := "work-" + string(rune('0'+i))
				c.Free[name] = 1
				add(i, "", name)
			}
			for i := range beside.n {
				add(100+i, string(rune('a'+i%1000)), "parked")
			}
			if beside.hold {
				c.Free["parked"] = 8
				hold := store.Hold{Queue: "inbox", Destination: "parked", Kind: store.Paused}
				if _, err := st.Commit(ctx, &store.Batch{Holds: []store.Hold{hold}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				ds, err := st.Claim(ctx, "inbox", c)
				if err != nil || len(ds) != 64 {
					b.Fatal(len(ds), err)
				}
				var batch store.Batch
				for _, d := range ds {
					batch.Settles = append(batch.Settles, store.Settle{Delivery: d.ID, Token: d.Token, To: store.Queued})
				}
				if _, err := st.Commit(ctx, &batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// purgeAll purges until nothing is left to delete.
func purgeAll(tb testing.TB, st *memory.Store, r store.Retention) (total int) {
	tb.Helper()
	for {
		n, err := st.Purge(context.Background(), "inbox", r)
		if err != nil {
			tb.Fatal(err)
		}
		if n == 0 {
			return total
		}
		total += n
	}
}
