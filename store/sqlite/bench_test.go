//go:build unix

package sqlite_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

const benchAdders = 64

// BenchmarkStore_Add is 64 callers, each of whom waits for its own durable commit
// of a 1 KiB event.
func BenchmarkStore_Add(b *testing.B) {
	benchmark(b, func(ctx context.Context, st *sqlite.Store, a *store.Add) error {
		_, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{*a}})
		return err
	})
}

// BenchmarkStore_AddSettle is the whole way of an event that succeeds at once: it
// is added with its lease, and settled.
func BenchmarkStore_AddSettle(b *testing.B) {
	benchmark(b, func(ctx context.Context, st *sqlite.Store, a *store.Add) error {
		a.To[0].Lease = time.Minute
		res, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{*a}})
		if err != nil {
			return err
		}
		d := &res.Adds[0].Deliveries[0]
		_, err = st.Commit(ctx, &store.Batch{Settles: []store.Settle{{
			Delivery: d.ID, Token: d.Token, To: store.Processed,
			Attempt: &store.Attempt{Start: time.Now(), Duration: time.Millisecond, Outcome: store.OutcomeProcessed},
		}}})
		return err
	})
}

func benchmark(b *testing.B, f func(ctx context.Context, st *sqlite.Store, a *store.Add) error) {
	b.Helper()
	st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "webhooks.db"), sqlite.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	ctx := b.Context()
	body := make([]byte, 1024)
	_, _ = rand.Read(body)
	head := []byte(`{"method":"POST","url":"/webhooks/shop","headers":{"Content-Type":["application/json"],"User-Agent":["Shop/1.0"]}}`)
	spans := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	for range benchAdders {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				a := &store.Add{
					Queue: "inbox", Known: 7 * 24 * time.Hour,
					Record: &store.Record{Source: "shop", ID: "evt_0123456789abcdef", Type: "order.paid", Time: time.Now(), Head: head, Body: body},
					To:     []store.Target{{Destination: "work"}},
				}
				_, _ = rand.Read(a.Nonce[:])
				_, _ = rand.Read(a.Identity[:])
				binary.LittleEndian.PutUint64(a.Digest[:], uint64(i))
				start := time.Now()
				if err := f(ctx, st, a); err != nil {
					b.Error(err)
					return
				}
				spans[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	report(b, spans)
}

// cpuTime is what this process has used, which the load of others changes least.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report adds what a caller feels.
func report(b *testing.B, spans []time.Duration) {
	b.Helper()
	slices.Sort(spans)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(spans[len(spans)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(spans[len(spans)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkStore_Claim claims a hundred deliveries and settles them, beside many
// that are not to be claimed: parked ones, and finished ones.
func BenchmarkStore_Claim(b *testing.B) {
	const crowd, each = 100_000, 100
	ctx := b.Context()
	st := open(b, file(b))
	fill := func(n int, prefix, to string) {
		for i := 0; i < n; i += 500 {
			batch := &store.Batch{}
			for j := range 500 {
				batch.Adds = append(batch.Adds, event(fmt.Sprint(prefix, i+j), to))
			}
			if _, err := st.Commit(ctx, batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	claim := func() int {
		ds, err := st.Claim(ctx, queue, store.Claim{Free: map[string]int{"work": each}, Lease: time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		batch := &store.Batch{}
		for _, d := range ds {
			batch.Settles = append(batch.Settles, processed(d))
		}
		if _, err := st.Commit(ctx, batch); err != nil {
			b.Fatal(err)
		}
		return len(ds)
	}
	if _, err := st.Commit(ctx, &store.Batch{Holds: []store.Hold{{Queue: queue, Destination: "parked", Kind: store.Paused}}}); err != nil {
		b.Fatal(err)
	}
	fill(crowd, "parked ", "parked")
	fill(crowd/10, "finished ", "work")
	for claim() > 0 {
	}
	fill(each*b.N+500, "work ", "work")
	b.ResetTimer()
	n := 0
	for range b.N {
		n += claim()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/delivery")
}
