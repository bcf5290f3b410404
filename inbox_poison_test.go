package webhook_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// journal keeps which handlers began and ended, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// takes is a handler that notes its begin and its end, d later.
func (j *journal) takes(d time.Duration) webhook.Handler {
	return func(ctx context.Context, e webhook.Event) error {
		j.note("%s begins", e.ID)
		defer j.note("%s ends", e.ID)
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestPoison_SuspectRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New()
		r := newRigOn(t, mem, webhook.QueueConfig{})
		neighbour := newRigOn(t, mem, webhook.QueueConfig{Name: "neighbour"}) // another engine of the same process
		var j journal
		r.inbox.Handle("suspect", j.takes(5*time.Second))
		r.inbox.Handle("innocent", j.takes(time.Second))
		neighbour.inbox.Handle("innocent", j.takes(2*time.Second))

		r.add(event("suspect", "suspect"))
		for range 2 {
			r.lose("suspect")
		}
		neighbour.run()
		neighbour.add(event("n1", "innocent"))
		synctest.Wait()
		r.run() // the suspect waits for n1, and all others wait for it
		pass(time.Second)
		r.add(event("i1", "innocent"), event("i2", "innocent"))
		neighbour.add(event("n2", "innocent"))
		pass(3 * time.Second)
		require.Equal(t, map[store.State]int{store.Processing: 1, store.Queued: 2}, r.states(), "no lease beside the suspect's")
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Queued: 1}, neighbour.states())
		pass(time.Minute)

		require.Equal(t, []string{"n1 begins", "n1 ends", "suspect begins", "suspect ends"}, j.lines[:4])
		require.ElementsMatch(t, []string{"i1 begins", "i2 begins", "n2 begins"}, j.lines[4:7], "together again")
		require.Equal(t, map[store.State]int{store.Processed: 3}, r.states())
		d := r.deliveries()[0]
		require.Equal(t, 2, d.Lost)
		require.Equal(t, []string{store.OutcomeLost, store.OutcomeLost, store.OutcomeProcessed},
			[]string{d.Attempts[0].Outcome, d.Attempts[1].Outcome, d.Attempts[2].Outcome})
	})
}

// One lost attempt may be anybody's crash: such a delivery runs with the others.
func TestPoison_OneLostAttemptIsNoSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var j journal
		r.inbox.Handle("once", j.takes(5*time.Second))
		r.inbox.Handle("innocent", j.takes(time.Second))
		r.add(event("once", "once"))
		r.lose("once")
		r.run()
		r.add(event("i1", "innocent"))
		pass(time.Minute)
		require.Equal(t, []string{"once begins", "i1 begins", "i1 ends", "once ends"}, j.lines)
	})
}

func TestPoison_SuspectsRunOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var g gauge
		r.inbox.Handle("suspect", g.takes(2*time.Second))
		r.add(numbered("", 5, "suspect")...)
		r.lose("suspect")
		r.lose("suspect")
		r.run()
		pass(11 * time.Second)
		_, most, entered := g.seen()
		require.Equal(t, []int{1, 5}, []int{most, entered})
	})
}

// A suspect that hangs past its timeout does not halt the process: the others
// run again a heartbeat later.
func TestPoison_SuspectHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Timeout: 20 * time.Second, Drain: time.Second})
		release := make(chan struct{})
		r.inbox.Handle("suspect", func(context.Context, webhook.Event) error { <-release; return nil })
		var got collector
		r.inbox.Handle("innocent", got.handle)
		r.add(event("1", "suspect"))
		r.lose("suspect")
		r.lose("suspect")
		stop := r.run()
		r.add(event("2", "innocent"))
		pass(19 * time.Second)
		require.Empty(t, got.ids())
		pass(12 * time.Second)
		require.Equal(t, []string{"2"}, got.ids())
		require.Error(t, stop())
		close(release)
	})
}

// Nor does an innocent that hangs keep a suspect from its turn, whether its
// engine still runs or gave up on it.
func TestPoison_InnocentHangs(t *testing.T) {
	for name, gone := range map[string]bool{"engine still runs": false, "engine has ended": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hung := newRig(t, webhook.QueueConfig{Timeout: 20 * time.Second, Drain: time.Second})
				release := make(chan struct{})
				hung.inbox.Handle("stuck", func(context.Context, webhook.Event) error { <-release; return nil })
				stop := hung.run()
				hung.add(event("1", "stuck"))
				synctest.Wait()
				if gone {
					require.Error(t, stop())
				}

				r := newRig(t, webhook.QueueConfig{})
				var got collector
				r.inbox.Handle("suspect", got.handle)
				r.add(event("2", "suspect"))
				r.lose("suspect")
				r.lose("suspect")
				r.run()
				pass(time.Minute)
				require.Equal(t, []string{"2"}, got.ids())
				if !gone {
					require.Error(t, stop())
				}
				close(release)
			})
		})
	}
}

// A drain does not wait for those that wait for a suspect, nor for a suspect that
// waits: they are handed back.
func TestPoison_DrainWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var j journal
		r.inbox.Handle("suspect", j.takes(time.Second))
		r.inbox.Handle("innocent", j.takes(10*time.Second))
		r.add(event("suspect", "suspect"))
		r.lose("suspect")
		r.lose("suspect")
		r.st.onClaim(noClaims)
		stop := r.run()
		r.add(event("i1", "innocent"))
		synctest.Wait()
		r.st.onClaim(nil)
		pass(2 * time.Second) // the suspect is claimed, and waits for i1
		r.add(event("i2", "innocent"))
		require.NoError(t, stop())
		require.Equal(t, []string{"i1 begins", "i1 ends"}, j.lines)
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Queued: 2}, r.states())
	})
}

func TestPoison_DeadAfterFiveLostAttempts(t *testing.T) {
	for lost, state := range map[int]store.State{4: store.Processed, 5: store.Dead, 6: store.Dead} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				var got collector
				r.inbox.Handle("suspect", got.handle)
				r.add(event("1", "suspect"))
				for range lost {
					r.lose("suspect")
				}
				r.run()
				pass(time.Minute)
				d := r.only()
				require.Equal(t, state, d.State)
				require.Equal(t, lost, d.Lost)
				if state == store.Processed {
					require.Equal(t, []string{"1"}, got.ids())
					return
				}
				require.Empty(t, got.ids(), "it is not run")
				require.Equal(t, fmt.Sprintf("lost: %d attempts ended with their process", lost), d.Reason)
				require.Len(t, d.Attempts, lost)
				require.Len(t, r.logs.having(t, "status", "dead"), 1)

				_, _, err := r.inbox.Queue().Redrive(t.Context(), store.Filter{}, "", 1)
				require.NoError(t, err)
				pass(time.Minute)
				require.Equal(t, store.Processed, r.only().State, "a redrive clears the count")
			})
		})
	}
}

// What another store does not take is not waited for: neither by a suspect, nor, where
// it is one itself, by everybody.
func TestPoison_OtherStoreDown(t *testing.T) {
	for name, lost := range map[string]int{"an innocent is not settled": 0, "a suspect is not settled": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, other := newRig(t, webhook.QueueConfig{}), newRig(t, webhook.QueueConfig{})
				var got, gotByOther collector
				r.inbox.Handle("suspect", got.handle)
				other.inbox.Handle("other", gotByOther.handle)
				r.add(event("suspect", "suspect"))
				other.add(event("other", "other"))
				for range lost {
					other.lose("other")
				}
				for range 2 {
					r.lose("suspect")
				}
				other.st.onCommit(failingCommit(context.DeadlineExceeded, anyBatch))
				other.run()
				require.Equal(t, []string{"other"}, gotByOther.ids())
				other.st.onClaim(func(context.Context, store.Claim, claimFunc) ([]store.Delivery, error) {
					return nil, context.DeadlineExceeded
				})
				r.run()
				pass(time.Minute)
				require.Equal(t, []string{"suspect"}, got.ids())
				other.st.onCommit(nil)
				pass(10 * time.Second) // a settle is tried every few seconds
				other.st.onClaim(nil)
				pass(time.Minute)
				require.Equal(t, map[store.State]int{store.Processed: 1}, other.states())
				require.Equal(t, []string{"other"}, gotByOther.ids())
			})
		})
	}
}
