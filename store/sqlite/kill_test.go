package sqlite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// playAdder adds and settles as fast as it can, and says what was acknowledged.
func playAdder(path string) error {
	ctx := context.Background()
	st, err := sqlite.Open(ctx, path, sqlite.Config{WALLimit: 1 << 20}) // checkpoints are killed too
	if err != nil {
		return err
	}
	if _, err := st.Claim(ctx, queue, store.Claim{Other: 1000, Max: 1000, Lease: time.Hour}); err != nil {
		return err
	}
	run := rand.Uint64()
	var n atomic.Int64
	var say sync.Mutex
	tell := func(what, id string) {
		say.Lock()
		defer say.Unlock()
		fmt.Println(what, id)
	}
	fmt.Println("running")
	errs := make(chan error)
	for range 8 {
		go func() {
			for {
				a := event(fmt.Sprintf("%x-%d", run, n.Add(1)), "work")
				a.Record.Body = make([]byte, 1024)
				a.To[0].Lease = time.Hour
				res, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{a}})
				if err != nil {
					errs <- err
					return
				}
				tell("added", a.Record.ID)
				_, err = st.Commit(ctx, &store.Batch{Settles: []store.Settle{processed(res.Adds[0].Deliveries[0])}})
				if err != nil {
					errs <- err
					return
				}
				tell("processed", a.Record.ID)
			}
		}()
	}
	return <-errs
}

// What was acknowledged before the process was killed, at any moment, is there.
func TestKill(t *testing.T) {
	const kills = 12
	path := file(t)
	acknowledged := map[string]store.State{}
	for range kills {
		c := start(t, "adder", path)
		require.Equal(t, "running", c.line(t))
		killed := time.AfterFunc(time.Duration(20+rand.IntN(150))*time.Millisecond, func() { _ = c.Process.Kill() })
		for c.out.Scan() {
			what, id, ok := strings.Cut(c.out.Text(), " ")
			switch {
			case !ok || id == "":
			case what == "added" && acknowledged[id] == "":
				acknowledged[id] = store.Processing
			case what == "processed":
				acknowledged[id] = store.Processed
			}
		}
		killed.Stop()
		c.kill()
	}
	require.Greater(t, len(acknowledged), 100, "the children were busy")

	st := open(t, path)
	check, err := st.OnWriter("PRAGMA integrity_check")
	require.NoError(t, err)
	require.Equal(t, "ok", check)
	found := map[string]store.State{}
	after := ""
	for {
		page, next, err := st.Find(t.Context(), queue, store.Filter{}, after, 1000)
		require.NoError(t, err)
		for _, d := range page {
			found[d.Record.ID] = d.State
		}
		if after = next; next == "" {
			break
		}
	}
	for id, state := range acknowledged {
		switch got := found[id]; {
		case got == "":
			t.Errorf("event %s was acknowledged and is lost", id)
		case state == store.Processed && got != store.Processed:
			t.Errorf("event %s is %s, its settle was acknowledged", id, got)
		}
	}
	requireCounters(t, st)
}

// requireCounters counts rows and compares them with the kept counters.
func requireCounters(t *testing.T, st *sqlite.Store) {
	t.Helper()
	wrong, err := st.OnWriter(`
SELECT count(*) FROM webhook_destination t WHERE
   queued <> (SELECT count(*) FROM webhook_delivery d WHERE d.destination = t.id AND state = 'queued')
OR processing <> (SELECT count(*) FROM webhook_delivery d WHERE d.destination = t.id AND state = 'processing')
OR dead <> (SELECT count(*) FROM webhook_delivery d WHERE d.destination = t.id AND state = 'dead')
OR blocked <> (SELECT count(*) FROM webhook_chain c WHERE c.destination = t.id AND c.blocked IS NOT NULL)`)
	require.NoError(t, err)
	require.Zero(t, wrong, "destinations whose counters are wrong")
}
