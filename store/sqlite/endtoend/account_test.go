package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// account is what a run left behind.
type account struct {
	acked   map[string]bool
	states  map[string]store.State // of the deliveries, by event id
	reasons map[string]string      // of the dead, by event id
	effects map[string]int         // by event id
	order   []string               // event ids, as they took effect
}

func (a account) count(s store.State) (n int) {
	for _, is := range a.states {
		if is == s {
			n++
		}
	}
	return n
}

// problems returns what must not be, one line each.
func (a account) problems() (ps []string) {
	for id := range a.acked {
		if _, ok := a.states[id]; !ok {
			ps = append(ps, id+": acknowledged and lost")
		}
	}
	for id, s := range a.states {
		switch n := a.effects[id]; {
		case s != store.Processed && s != store.Dead:
			ps = append(ps, fmt.Sprintf("%s: is %s", id, s))
		case s == store.Processed && n == 0:
			ps = append(ps, id+": processed without effect")
		case s == store.Dead && n > 0:
			ps = append(ps, id+": took effect and is dead")
		case n > 1:
			ps = append(ps, fmt.Sprintf("%s: took effect %d times", id, n))
		}
	}
	return ps
}

// disorder returns where events of one worker took effect in another order than they
// were acknowledged in, one line each.
func (a account) disorder() (ps []string) {
	last := map[string]int{}
	for _, id := range a.order {
		worker := bySender(webhook.Event{ID: id})
		n, err := strconv.Atoi(id[len(worker)+1:])
		if err != nil {
			return []string{id + ": no event of a worker's"}
		}
		if before, ok := last[worker]; ok && n < before {
			ps = append(ps, fmt.Sprintf("%s: took effect after number %d", id, before))
		}
		last[worker] = max(last[worker], n)
	}
	return ps
}

// settled waits until nothing is queued or being processed.
func (s *stage) settled() {
	s.t.Helper()
	s.until(func(f store.Stats) bool { return f.Queued+f.Processing == 0 }, "deliveries in limbo")
}

// until waits for figures as a second process sees them, which browses the file.
func (s *stage) until(ok func(store.Stats) bool, otherwise string) {
	t, ctx := s.t, s.t.Context()
	t.Helper()
	st, err := sqlite.Open(ctx, s.db, sqlite.Config{})
	require.NoError(t, err)
	defer st.Close()
	require.Eventually(t, func() bool {
		figures, err := webhook.NewQueue(st, s.queue).Stats(ctx)
		return err == nil && ok(figures)
	}, time.Minute, 5*time.Millisecond, otherwise)
}

// account reads it from the sender's file, the queue and the effects.
func (s *stage) account() account {
	t, ctx := s.t, s.t.Context()
	t.Helper()
	a := account{acked: map[string]bool{}, states: map[string]store.State{}, reasons: map[string]string{}, effects: map[string]int{}}
	text, err := os.ReadFile(s.acked)
	require.NoError(t, err)
	for id := range strings.FieldsSeq(string(text)) {
		a.acked[id] = true
	}
	st, err := sqlite.Open(ctx, s.db, sqlite.Config{})
	require.NoError(t, err)
	defer st.Close()
	for d, err := range webhook.NewQueue(st, "inbox").Find(ctx, store.Filter{}) {
		require.NoError(t, err)
		require.NotContains(t, a.states, d.Record.ID, "an event was stored twice")
		a.states[d.Record.ID], a.reasons[d.Record.ID] = d.State, d.Reason
	}
	require.NoError(t, st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT event FROM effect ORDER BY rowid")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			if a.effects[id]++; a.effects[id] == 1 {
				a.order = append(a.order, id)
			}
		}
		return rows.Err()
	}))
	return a
}
