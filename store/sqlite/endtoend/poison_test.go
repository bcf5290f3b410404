package endtoend

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
)

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
		var err error
		select {
		case err = <-exit:
		case <-time.After(3 * time.Second): // nothing ends it any more
		}
		if err == nil {
			break
		}
		require.Equal(t, "exit status 3", err.Error())
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
