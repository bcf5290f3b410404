package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// leased returns a lease that c accounts for, as after a claim.
func leased(t *testing.T, c *custody) (*lease, context.CancelFunc) {
	t.Helper()
	require.True(t, c.ask())
	c.hold(1)
	c.part()
	ctx, cancel := context.WithCancel(t.Context())
	return &lease{d: &store.Delivery{}, ctx: ctx}, cancel
}

// isolating starts l's isolation, and returns where its result will come.
func isolating(c *custody, l *lease, stop <-chan struct{}) <-chan bool {
	done := make(chan bool, 1)
	go func() { done <- c.isolate(l, stop) }()
	synctest.Wait()
	return done
}

func TestCustody_SuspectWaitsUntilItIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c custody
		first, cancel1 := leased(t, &c)
		second, cancel2 := leased(t, &c)
		suspect, cancel3 := leased(t, &c)
		defer func() { cancel1(); cancel2(); cancel3() }()
		require.True(t, c.ask(), "a claim is under way")
		alone := isolating(&c, suspect, nil)
		require.False(t, c.ask(), "none is taken from now on")
		c.end(first)
		c.end(first) // a second time does nothing
		c.hold(1)    // the claim brought one
		brought := &lease{d: &store.Delivery{}}
		c.part()
		c.end(second)
		synctest.Wait()
		require.Empty(t, alone)
		c.end(brought)
		require.True(t, <-alone)
		require.False(t, c.ask(), "while it runs")
		c.end(suspect)
		require.True(t, c.ask())
		c.part()
		require.Zero(t, c.held)
	})
}

func TestCustody_AloneAtOnce(t *testing.T) {
	var c custody
	suspect, cancel := leased(t, &c)
	defer cancel()
	require.True(t, c.isolate(suspect, nil))
	c.end(suspect)
	require.False(t, c.isolate(suspect, nil), "it has ended")
	require.Zero(t, c.held)
}

// Two that wait for each other would wait for ever: the second is handed back.
func TestCustody_OneSuspectAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c custody
		first, cancel1 := leased(t, &c)
		second, cancel2 := leased(t, &c)
		defer func() { cancel1(); cancel2() }()
		alone := isolating(&c, first, nil)
		require.False(t, c.isolate(second, nil))
		c.end(second)
		require.True(t, <-alone)
		c.end(first)
		require.True(t, c.ask())
	})
}

// A suspect that gives up lets the others go on as soon as it has ended.
func TestCustody_SuspectGivesUp(t *testing.T) {
	for _, by := range []string{"stop", "lease lost", "overdue"} {
		t.Run(by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c custody
				other, cancel1 := leased(t, &c)
				suspect, cancel2 := leased(t, &c)
				defer func() { cancel1(); cancel2() }()
				stop := make(chan struct{})
				alone := isolating(&c, suspect, stop)
				switch by {
				case "stop":
					close(stop)
					require.False(t, <-alone)
				case "lease lost":
					cancel2()
					require.False(t, <-alone)
				case "overdue":
					c.end(other)
					require.True(t, <-alone)
				}
				require.False(t, c.ask())
				c.end(suspect)
				require.True(t, c.ask())
				c.part()
				c.end(other)
				require.Zero(t, c.held)
				require.Nil(t, c.alone)
			})
		})
	}
}

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := Within(t.Context(), time.Minute) // not an attempt's context: bounded all the same
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.Equal(t, time.Now().Add(time.Minute), deadline)
		stop()

		l := &lease{}
		require.False(t, l.overdue(time.Now().Add(time.Hour)), "not begun")
		_, stop = Within(context.WithValue(t.Context(), leaseKey{}, l), time.Minute)
		defer stop()
		require.False(t, l.overdue(time.Now().Add(time.Minute)))
		require.True(t, l.overdue(time.Now().Add(time.Minute+1)))
		l.keep()
		require.False(t, l.overdue(time.Now().Add(time.Hour)), "ended: renewed until it is settled")
	})
}
