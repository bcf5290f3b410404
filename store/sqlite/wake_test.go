package sqlite_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// What another process commits is noticed within 100 ms: in a bubble, where time is
// exact.
func TestWake_Foreign(t *testing.T) {
	path := file(t)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := open(t, path), open(t, path)
		wake := ours.Wake(queue)
		other := ours.Wake("outbox")
		quiet := func() {
			t.Helper()
			select {
			case <-wake:
				t.Fatal("woken about nothing")
			case <-time.After(time.Second):
			}
		}
		quiet()
		for i := range 5 {
			<-time.After(time.Duration(i) * 13 * time.Millisecond) // at any moment of the poll
			add(t, theirs, event(time.Now().String(), "work"))
			start := time.Now()
			<-wake
			require.LessOrEqual(t, time.Since(start), 100*time.Millisecond)
			require.Len(t, claim(t, ours), 1)
			quiet()
		}
		later := event("later", "work")
		later.To[0].After = time.Hour
		add(t, theirs, later)
		quiet()
		select {
		case <-other:
			t.Fatal("another queue was woken")
		default:
		}
	})
}

// Our own commits wake at once, and a bubble's time does not go on for it.
func TestWake_Own(t *testing.T) {
	path := file(t)
	synctest.Test(t, func(t *testing.T) {
		st := open(t, path)
		wake := st.Wake(queue)
		start := time.Now()
		add(t, st, event("e", "work"))
		<-wake
		require.Zero(t, time.Since(start))

		d := claim(t, st)[0]
		require.Equal(t, time.Minute, time.Until(d.Until), "the store's clock is the bubble's")
		time.Sleep(2 * time.Minute)
		require.Equal(t, 1, claim(t, st)[0].Lost)

		// A lease that is given with the add is nothing to wake anybody for.
		born := event("born", "work")
		born.To[0].Lease = time.Minute
		add(t, st, born)
		select {
		case <-wake:
			t.Fatal("woken by an add that was leased to us")
		default:
		}
		require.Equal(t, store.Processing, find(t, st, "born")[0].State)
	})
}
