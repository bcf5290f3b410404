package endtoend

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// deadOrExited passes on how the receiver ended, or nil when the poison is dead.
func (s *stage) deadOrExited(exited <-chan error) <-chan error {
	s.t.Helper()
	c := make(chan error, 1)
	st, err := sqlite.Open(s.t.Context(), s.db, sqlite.Config{})
	require.NoError(s.t, err)
	go func() {
		defer st.Close()
		for {
			select {
			case err := <-exited:
				c <- err
				return
			case <-time.After(20 * time.Millisecond):
			}
			n, err := webhook.NewQueue(st, "inbox").Count(s.t.Context(), store.Filter{EventID: poison, States: []store.State{store.Dead}}, 1)
			if err != nil || n == 1 {
				c <- err
				return
			}
		}
	}()
	return c
}

// TestPoison: an event that ends the process each time it is handled is dead
// after five attempts, and its neighbours are processed.
func TestPoison(t *testing.T) {
	s := newStage(t)
	finish := s.sender()
	_, exit := s.receiver(0)

	v, err := provider.StandardWebhooks(secret)
	require.NoError(t, err)
	target := &url.URL{Scheme: "http", Host: s.addr, Path: "/hook"}
	// It is acknowledged by whichever process answers before it ends.
	go deliver(&http.Client{Timeout: time.Second}, v, target, poison)

	ends := 0
	for {
		err := within(t, s.deadOrExited(exit))
		if err == nil {
			break
		}
		require.EqualError(t, err, "exit status 3")
		ends++
		require.LessOrEqual(t, ends, 5, "the poison is still handled")
		_, exit = s.receiver(0)
	}
	require.Equal(t, 5, ends)
	finish()
	s.settled()

	a := s.account()
	require.Equal(t, store.Dead, a.states[poison])
	require.Contains(t, a.reasons[poison], "lost")
	for id, state := range a.states {
		if !strings.HasPrefix(id, poison) {
			require.Equal(t, store.Processed, state, id)
		}
	}
}
