package store_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
)

func echo(_ context.Context, jobs []int) ([]int, error) { return jobs, nil }

// BenchmarkGroup is what a Group costs beside the write.
func BenchmarkGroup(b *testing.B) {
	b.Run("OneCaller", func(b *testing.B) {
		g := store.NewGroup(echo, store.GroupConfig[int]{})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Do(context.Background(), 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Crowd", func(b *testing.B) {
		g := store.NewGroup(echo, store.GroupConfig[int]{})
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := g.Do(context.Background(), 1); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkGroup_BesideComputing is how long one caller waits where every
// processor is busy: a turn for the caller and one for the writer, and no more.
func BenchmarkGroup_BesideComputing(b *testing.B) {
	slow := func(_ context.Context, jobs []int) ([]int, error) {
		time.Sleep(200 * time.Microsecond) // about an fdatasync
		return jobs, nil
	}
	var stop atomic.Bool
	defer stop.Store(true)
	for range 4 * runtime.GOMAXPROCS(0) {
		go func() {
			for !stop.Load() {
				continue
			}
		}()
	}
	g := store.NewGroup(slow, store.GroupConfig[int]{})
	for b.Loop() {
		if _, err := g.Do(context.Background(), 1); err != nil {
			b.Fatal(err)
		}
	}
}
