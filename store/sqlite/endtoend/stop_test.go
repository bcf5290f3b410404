package endtoend

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// TestStop: a receiver that is stopped for longer than its leases, in the middle
// of handlers, wakes with leases that have run out. Whatever it then does, nothing
// takes effect twice and nothing is lost.
func TestStop(t *testing.T) {
	s := newStage(t, envLease+"=1s")
	finish := s.sender()
	receiver, exited := s.receiver(0)
	for range 3 {
		s.until(func(f store.Stats) bool { return f.Processing > 2 }, "no handlers at work")
		require.NoError(t, receiver.Signal(syscall.SIGSTOP))
		time.Sleep(1500 * time.Millisecond) // longer than a lease
		require.NoError(t, receiver.Signal(syscall.SIGCONT))
	}
	require.NoError(t, receiver.Kill())
	requireKilled(t, within(t, exited))
	a := s.end(finish)
	require.Empty(t, a.problems())
	require.Greater(t, len(a.acked), 100)
}
