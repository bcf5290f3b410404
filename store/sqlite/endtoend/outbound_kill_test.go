package endtoend

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// TestKillOutbound: whatever was committed is delivered to each of its endpoints or
// dead, and posted again only where no settle says that it was taken.
func TestKillOutbound(t *testing.T) {
	l := killOutbound(t, "", 4*len(outboundPoints))
	require.Empty(t, l.problems())
	require.Greater(t, len(l.committed), 100, "too little was sent for the account to mean anything")
	require.Positive(t, l.count(store.Processed))
	require.Positive(t, l.again(), "nothing was in flight when it was killed")
	for _, ending := range []string{store.OutcomeLost, store.OutcomeDeferred, "http_4xx", "http_5xx", "timeout", "reset"} {
		require.Positive(t, l.endings[ending], "no attempt ended so: %s of %v", ending, l.endings)
	}
	t.Logf("%d events committed; %d deliveries processed, %d dead; %d taken more than once; attempts: %v",
		len(l.committed), l.count(store.Processed), l.count(store.Dead), l.again(), l.endings)
}

// TestKillOutbound_SeesSabotage: the account of TestKillOutbound finds the mistakes
// that it is there to find.
func TestKillOutbound_SeesSabotage(t *testing.T) {
	for sabotage, problem := range map[string]string{
		succeedFirst:    "processed, and never taken",
		newIDs:          "came under several ids",
		postTwice:       "times in",
		ackBeforeCommit: "committed and lost",
		sendUndone:      "rolled back, and stored",
		outsideTx:       "committed and lost",
	} {
		t.Run(sabotage, func(t *testing.T) {
			l := killOutbound(t, sabotage, 6)
			require.Contains(t, strings.Join(l.problems(), "\n"), problem)
		})
	}
}

// killOutbound kills senders so many times, every second one by its own hand at
// one of the points, and the endpoints now and then; lets both finish, and returns
// the account.
func killOutbound(t *testing.T, sabotage string, times int) outboundAccount {
	t.Helper()
	posts := filepath.Join(t.TempDir(), "posts")
	s := newStage(t, envSabotage+"="+sabotage, envPosts+"="+posts)
	s.queue = "outbox"
	endpoints, gone := s.start(envRole + "=endpoints")
	for n := range times + 1 {
		if n%2 == 0 {
			_ = endpoints.Kill() // or by its own hand, before
			requireKilled(t, within(t, gone))
			endpoints, gone = s.start(envRole+"=endpoints", envPoint+"="+[]string{"", beforeAnswer}[n/2%2])
		}
		point := ""
		if n%2 == 1 { // times is even: not the last one
			point = outboundPoints[n/2%len(outboundPoints)]
		}
		dispatcher, exited := s.start(envRole+"=dispatcher", envPoint+"="+point)
		if point == "" {
			life := 20*time.Millisecond + rand.N(250*time.Millisecond)
			if n == times {
				life = 1500 * time.Millisecond // for what takes its time, such as timeouts
			}
			time.Sleep(life)
			require.NoError(t, dispatcher.Kill())
		}
		requireKilled(t, within(t, exited))
	}
	return s.endOutbound(endpoints, gone, posts)
}

// endOutbound lets a dispatcher finish against endpoints that take everything, and
// returns the account.
func (s *stage) endOutbound(endpoints *os.Process, gone <-chan error, posts string) outboundAccount {
	s.t.Helper()
	_ = endpoints.Kill()
	requireKilled(s.t, within(s.t, gone))
	_, gone = s.start(envRole+"=endpoints", envCalm+"=1")
	dispatcher, exited := s.start(envRole+"=dispatcher", envCalm+"=1")
	s.settled()
	require.NoError(s.t, dispatcher.Signal(syscall.SIGTERM))
	require.NoError(s.t, within(s.t, exited), "dispatcher: SIGTERM is no crash")
	require.Empty(s.t, gone, "the endpoints exited")
	return s.outboundAccount(posts)
}
