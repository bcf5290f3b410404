package endtoend

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

var dedupEvents = flag.Int("dedup.events", 20, "events that TestDeduplicate sends, in 50 copies each")

const (
	copies   = 50 // of each event
	together = 10 // events at a time
)

// TestDeduplicate: two processes on one file handle events while the senders wait, and
// each event comes in fifty copies at once. Whatever is killed, an event is never
// handled by two at once, and succeeds once: and once more for each kill that fell
// between its success and the confirmation.
func TestDeduplicate(t *testing.T) {
	a := deduplicate(t, "", *dedupEvents)
	require.Empty(t, a.problems())
	require.Positive(t, a.between, "no kill fell between a success and its confirmation")
	require.Positive(t, a.kills)
	t.Logf("%d events: %d handlers began, %d succeeded; %d processes killed, %d times between a success and its confirmation",
		len(a.events), a.count(began), a.count(succeeded), a.kills, a.between)
}

// TestDeduplicate_SeesSabotage: the account of TestDeduplicate finds the mistakes
// that it is there to find.
func TestDeduplicate_SeesSabotage(t *testing.T) {
	for sabotage, problem := range map[string]string{
		confirmFirst:    "answered 200 and never succeeded",
		reserveInMemory: "handled by two at once",
		confirmNothing:  "began after it was confirmed",
	} {
		t.Run(sabotage, func(t *testing.T) {
			// The slow ones apart: without confirmations all copies would take their time.
			require.Contains(t, strings.Join(deduplicate(t, sabotage, nowhere).problems(), "\n"), problem)
		})
	}
}

// dedupAccount is what the journal says.
type dedupAccount struct {
	events  map[string][]entry
	sent    int
	kills   int
	between int // successes that were not confirmed before their process was killed
	killed  map[string]bool
}

// entry is a line of the journal: what a process wrote down.
type entry struct{ process, word string }

func (a *dedupAccount) count(word string) (n int) {
	for _, entries := range a.events {
		for _, e := range entries {
			if e.word == word {
				n++
			}
		}
	}
	return n
}

// problems returns what must not be, one line each. It also counts a.between.
func (a *dedupAccount) problems() (ps []string) {
	a.between = 0
	for n := range a.sent {
		event := eventID(n)
		open := map[string]bool{} // processes of which a success is not confirmed
		successes, known := 0, false
		for _, e := range a.events[event] {
			switch e.word {
			case overlaps:
				ps = append(ps, event+": handled by two at once")
			case began:
				if known {
					ps = append(ps, event+": began after it was confirmed")
				}
				if open[e.process] {
					ps = append(ps, event+": began between a success and its confirmation, in the same process")
				}
			case succeeded:
				successes++
				open[e.process] = true
			case confirmed:
				known = true
				delete(open, e.process)
			}
		}
		for process := range open {
			a.between++
			if !a.killed[process] {
				ps = append(ps, event+": succeeded, and was not confirmed by a process that lived on")
			}
		}
		switch {
		case successes == 0:
			ps = append(ps, event+": answered 200 and never succeeded")
		case successes > 1+len(open):
			ps = append(ps, fmt.Sprintf("%s: succeeded %d times, with %d kills between success and confirmation", event, successes, len(open)))
		}
	}
	return ps
}

func eventID(n int) string { return fmt.Sprint("evt_", n) }

// deduplicate sends n events to two processes, kills them now and then, and returns
// the account.
func deduplicate(t *testing.T, sabotage string, n int) *dedupAccount {
	t.Helper()
	dir := t.TempDir()
	s := newStage(t, envSabotage+"="+sabotage, envJournal+"="+dir)
	addrs := []string{s.addr, freeAddr(t)}
	a := &dedupAccount{events: map[string][]entry{}, sent: n, killed: map[string]bool{}}

	var done atomic.Bool
	var mu sync.Mutex // guards a
	var keepers sync.WaitGroup
	for _, addr := range addrs {
		keepers.Go(func() {
			for !done.Load() {
				process, exited := s.start(envRole+"=handler", envAddr+"="+addr)
				var err error
				select {
				case err = <-exited: // by its own hand
				case <-time.After(2*time.Second + rand.N(4*time.Second)):
					process.Kill()
					err = <-exited
				}
				requireKilled(t, err)
				mu.Lock()
				a.kills++
				a.killed[fmt.Sprint(process.Pid)] = true
				mu.Unlock()
			}
		})
	}
	err := sendCopies(addrs, n)
	done.Store(true)
	keepers.Wait()
	require.NoError(t, err)

	text, err := os.ReadFile(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		require.Len(t, f, 3, line)
		a.events[f[2]] = append(a.events[f[2]], entry{process: f[0], word: f[1]})
	}
	return a
}

// sendCopies sends n events, some at a time, each in copies at once; every copy until
// it is answered 200, as a sender would that knows of no other.
func sendCopies(addrs []string, n int) error {
	v, err := provider.StandardWebhooks(secret)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: copies * together}}
	free := make(chan struct{}, together)
	errs := make(chan error, n*copies)
	var all sync.WaitGroup
	for event := range n {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			var of sync.WaitGroup
			for range copies {
				of.Go(func() { errs <- untilAnswered(client, v, addrs, eventID(event)) })
			}
			of.Wait()
		})
	}
	all.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// untilAnswered sends event to one of addrs, and again until it is answered 200.
func untilAnswered(client *http.Client, v webhook.Verifier, addrs []string, event string) error {
	var last string
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); {
		target := &url.URL{Scheme: "http", Host: addrs[rand.IntN(len(addrs))], Path: "/hook"}
		body := fmt.Appendf(nil, `{"type":"order.paid","data":{"id":%q}}`, event)
		signed := &webhook.Request{
			Method: http.MethodPost, URL: target, Header: http.Header{}, Body: body, Time: time.Now(),
			Secrets: []webhook.Secret{{Value: secret}},
		}
		if err := v.Sign(signed, webhook.Event{ID: event}); err != nil {
			return err
		}
		req, err := http.NewRequest(http.MethodPost, target.String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header = signed.Header
		res, err := client.Do(req)
		if err != nil {
			last = err.Error() // killed: it comes back
		} else {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			switch res.StatusCode {
			case http.StatusOK:
				return nil
			case http.StatusConflict, http.StatusInternalServerError, http.StatusServiceUnavailable:
				last = res.Status
			default:
				return fmt.Errorf("%s: answered %s", event, res.Status)
			}
		}
		time.Sleep(200*time.Millisecond + rand.N(300*time.Millisecond))
	}
	return fmt.Errorf("%s: not answered 200 in 90 s: %s", event, last)
}
