//go:build unix

package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
)

// BenchmarkStore_FanOut is the way of ten deliveries of one event of 1 KiB: added, and
// settled, forty in a commit; in between they are claimed, or were born leased. The
// time is of one delivery.
func BenchmarkStore_FanOut(b *testing.B) {
	const fanOut, together = 10, 40
	for _, lease := range []time.Duration{0, time.Minute} {
		b.Run(map[bool]string{true: "born", false: "claimed"}[lease > 0], func(b *testing.B) {
			ctx := b.Context()
			st := open(b, file(b))
			free := map[string]int{}
			for i := range fanOut {
				free[fmt.Sprint("endpoint-", i)] = together
			}
			claim := store.Claim{Free: free, Max: together, Lease: time.Minute}
			if _, err := st.Claim(ctx, queue, claim); err != nil {
				b.Fatal(err)
			}
			body := make([]byte, 1024)
			cpu := cpuTime()
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += together {
				var ds []store.Delivery
				batch := &store.Batch{}
				for i := range together / fanOut {
					a := event(fmt.Sprint(n+i), "endpoint-0")
					a.To = nil
					for d := range free {
						a.To = append(a.To, store.Target{Destination: d, Lease: lease})
					}
					a.Record.Body = body
					batch.Adds = append(batch.Adds, a)
				}
				res, err := st.Commit(ctx, batch)
				if err != nil {
					b.Fatal(err)
				}
				for i := range res.Adds {
					ds = append(ds, res.Adds[i].Deliveries...)
				}
				if lease == 0 {
					if ds, err = st.Claim(ctx, queue, claim); err != nil {
						b.Fatal(err)
					}
				}
				if len(ds) != together {
					b.Fatalf("%d leases", len(ds))
				}
				batch = &store.Batch{}
				for _, d := range ds {
					batch.Settles = append(batch.Settles, processed(d))
				}
				if _, err := st.Commit(ctx, batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
