package endtoend

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// kills is how often a stranger kills the receiver in a run; it kills itself
// beside that.
const kills = 20

// TestKill: whatever was answered 2xx is processed or dead, nothing takes effect
// twice, and what has an order takes effect in it.
func TestKill(t *testing.T) {
	a, suicides := kill(t, "", kills)
	require.Empty(t, a.problems())
	require.Empty(t, a.disorder())
	require.Greater(t, len(a.acked), 100, "too little was sent for the account to mean anything")
	require.Positive(t, suicides, "it never died at a point of its own")
	t.Logf("%d killed, %d killed themselves; %d acknowledged, %d processed, %d dead",
		kills, suicides, len(a.acked), a.count(store.Processed), a.count(store.Dead))
}

// TestKill_SeesSabotage: the account of TestKill finds the mistakes that it is
// there to find.
func TestKill_SeesSabotage(t *testing.T) {
	for sabotage, problem := range map[string]string{
		ackFirst:      "acknowledged and lost",
		effectOutside: "took effect 2 times",
		anyOrder:      "took effect after number",
	} {
		t.Run(sabotage, func(t *testing.T) {
			a, _ := kill(t, sabotage, kills/2)
			require.Contains(t, strings.Join(append(a.problems(), a.disorder()...), "\n"), problem)
		})
	}
}

// kill kills a receiver so many times while a sender sends, lets both finish,
// and returns the account, and how often the receiver killed itself.
func kill(t *testing.T, sabotage string, times int) (a account, suicides int) {
	t.Helper()
	s := newStage(t, envSabotage+"="+sabotage)
	finish := s.sender()
	for killed, lives := 0, 0; killed < times; lives++ {
		odds := 1000
		if lives%4 == 3 {
			odds = 20 // however slow the machine: soon, and by its own hand
		}
		receiver, exited := s.receiver(odds)
		select {
		case err := <-exited: // before it was ready, or soon after: by its own hand
			requireKilled(t, err)
			suicides++
		case <-time.After(20*time.Millisecond + rand.N(250*time.Millisecond)):
			require.NoError(t, receiver.Kill())
			requireKilled(t, <-exited)
			killed++
		}
	}
	return s.end(finish), suicides
}
