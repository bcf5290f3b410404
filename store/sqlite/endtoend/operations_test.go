package endtoend

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
	"github.com/surehook/webhook/webhooktest"
)

// personal is the body of an event, larger than a page of SQLite's.
var personal = `{"email":"ann@example.com","notes":"` + strings.Repeat("x", 20_000) + `ann@example.com"}`

// operated makes a file with all that the statements of docs/operations.md look for:
// one event evt_1 that billing processed, ledger failed at and is dead of, with
// another of its ordering key behind it; and a handler that is paused.
func operated(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "webhooks.db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	defer st.Close()
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{
		Retry:     webhook.RetryPolicy{Attempts: 2, Delays: []time.Duration{time.Millisecond}},
		Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)},
	}})
	require.NoError(t, err)
	nop := func(context.Context, webhook.Event) error { return nil }
	inbox.Handle("billing", nop)
	ordered := webhook.HandlerConfig{OrderBy: func(e webhook.Event) string { return e.Subject }}
	inbox.HandleWith("paused", nop, ordered)
	inbox.HandleWith("ledger", func(context.Context, webhook.Event) error { return errors.New("the ledger is down") }, ordered)
	require.NoError(t, inbox.Queue().Pause(t.Context(), "paused", "bank holiday"))
	_, err = inbox.Add(t.Context(), webhook.Event{
		Source: "shop", ID: "evt_1", Type: "order.paid", Subject: "cus_1", Body: []byte(personal), To: []string{"billing", "ledger", "paused"},
	}, webhook.Event{
		Source: "shop", ID: "evt_2", Type: "order.paid", Subject: "cus_1", To: []string{"ledger"},
	})
	require.NoError(t, err)

	ctx, end := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- inbox.Run(ctx) }()
	require.Eventually(t, func() bool {
		s, err := inbox.Queue().Stats(ctx)
		return err == nil && s.Dead == 1 && s.Queued == 2 && s.Processing == 0
	}, 10*time.Second, 5*time.Millisecond)
	end()
	require.NoError(t, <-ran)
	require.NoError(t, reserve(t, st, 1, 2, 3))
	require.NoError(t, st.Confirm(t.Context(), owner, keys(1, 2), 7*24*time.Hour))
	return path
}

// owner reserves the keys that Deduplicate would.
var owner = [16]byte{1}

func keys(of ...byte) (all [][32]byte) {
	for _, b := range of {
		all = append(all, [32]byte{b})
	}
	return all
}

func reserve(t *testing.T, st *sqlite.Store, of ...byte) error {
	t.Helper()
	_, err := st.Reserve(t.Context(), owner, keys(of...), time.Minute)
	return err
}

// statements are those of docs/operations.md, by their first lines. A test of the root
// module holds that page and this file in step: what is outside of the module may not
// be there.
func statements(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for block := range strings.SplitSeq(string(mustRead(t, "testdata/operations.sql")), "\n\n") {
		name, statement, _ := strings.Cut(block, "\n")
		require.Regexp(t, "^-- .", name)
		name = strings.TrimPrefix(name, "-- ")
		require.NotContains(t, all, name)
		all[name] = statement
	}
	return all
}

// TestOperations_Questions runs each question of the page against a file, and wants
// the answer.
func TestOperations_Questions(t *testing.T) {
	path := operated(t)
	want := map[string][]string{ // parts of the rows, in their order
		"what waits, for each handler: counters, at no cost": {
			"inbox|billing|0|0|0|0|", "inbox|ledger|1|0|1|1|20", "inbox|paused|1|0|0|0|",
		},
		"why letters are dead": {
			"ledger|failed 2 times: the ledger is down|1|20",
		},
		"what became of an event; delivery_id is the id that the log and Queue.Get know": {
			"-1|billing|processed|1|", "-2|ledger|dead|2|", "-3|paused|queued|0|",
		},
		"the body of an event": {
			personal,
		},
		"the attempts of a delivery at which something went wrong": {
			"1|20", "2|20",
		},
		"blocked keys, each with its dead head and how many wait behind it": {
			"ledger|cus_1|20",
		},
		"what is held, and by whom": {
			"paused||paused|bank holiday|",
		},
		"what failed in the last day, and how": {
			"ledger|failed|error|2",
		},
		"what came in the last day, by the hour": {
			"|shop|order.paid|2",
		},
		"space": {
			"0.", // less than 1 MiB, and not nothing: below
		},
		"the keys of Deduplicate: a reserved one is being handled, or its process died": {
			"reserved|1|20", "known|2|20",
		},
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	require.NoError(t, err)
	defer db.Close()
	asked := 0
	for name, statement := range statements(t) {
		if !strings.HasPrefix(statement, "SELECT") {
			continue // TestOperations_Upkeep
		}
		asked++
		t.Run(name, func(t *testing.T) {
			parts, ok := want[name]
			require.True(t, ok, "no answer is known to this test: give it one")
			got := rows(t, db, statement)
			require.Len(t, got, len(parts), "%q", got)
			for i, part := range parts {
				require.Contains(t, got[i], part)
			}
		})
	}
	require.Len(t, want, asked, "the page has lost a question")
	failures := rows(t, db, statements(t)["the attempts of a delivery at which something went wrong"])
	require.Contains(t, failures[0], "|failed|error|the ledger is down")
	require.Regexp(t, `^0\.[0-9]*[1-9]\|0$`, rows(t, db, statements(t)["space"])[0])
	blocked := rows(t, db, statements(t)["blocked keys, each with its dead head and how many wait behind it"])
	require.Regexp(t, `\|[0-9a-f]{16}-2\|1$`, blocked[0], "the id of the head, and one behind it")
}

// TestOperations_Upkeep does what the page says of backups, restoring and erasing.
func TestOperations_Upkeep(t *testing.T) {
	path, all := operated(t), statements(t)
	dir := filepath.Dir(path)
	exec := func(file, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+file)
		require.NoError(t, err)
		defer db.Close()
		_, err = db.Exec(statement)
		require.NoError(t, err)
	}
	last := func(file string) (id string) {
		st, err := sqlite.Open(t.Context(), file, sqlite.Config{})
		require.NoError(t, err)
		defer st.Close()
		inbox, err := webhook.NewInbox(st, webhook.InboxConfig{
			Elsewhere: []string{"billing"}, Queue: webhook.QueueConfig{Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}},
		})
		require.NoError(t, err)
		_, err = inbox.Add(t.Context(), webhook.Event{Source: "shop", ID: "evt_3", To: []string{"billing"}})
		require.NoError(t, err)
		for d, err := range inbox.Queue().Find(t.Context(), store.Filter{EventID: "evt_3"}) {
			require.NoError(t, err)
			id = d.ID
		}
		return id
	}

	// The copy, made beside a store that is open and has its newest commit in the log.
	st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	backup := filepath.Join(dir, "backup.db")
	exec(path, strings.Replace(all["back up"], "backup.db", backup, 1))
	require.NoError(t, st.Close())
	given := last(path)
	again := filepath.Join(dir, "again.db")
	require.NoError(t, os.WriteFile(again, mustRead(t, backup), 0o600))
	require.Equal(t, given, last(again), "what the page warns of: an id is given a second time")
	exec(backup, all["skip ids after a restore"])
	require.NotEqual(t, given, last(backup))
	require.Equal(t, strings.Split(given, "-")[0], strings.Split(last(backup), "-")[0], "it is the same file")

	// What was erased is in the file until that is written anew.
	st, err = sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	n, err := webhook.NewQueue(st, "inbox").Erase(t.Context(), store.Filter{Subject: "cus_1"})
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.NoError(t, st.Close())
	require.Contains(t, string(mustRead(t, path)), "ann@example.com", "what the page warns of")
	exec(path, all["write the file anew"])
	for _, name := range []string{path, path + "-wal"} {
		data, err := os.ReadFile(name)
		if !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err)
			require.NotContains(t, string(data), "ann@example.com", name)
		}
	}
	require.Contains(t, string(mustRead(t, backup)), "ann@example.com", "backups keep what they have")
}

// TestOperations_HandledAgain does what the page says of an event that succeeded behind
// Deduplicate and should not have: what was confirmed in the seconds around it is new
// again, beside the store that is open, and nothing else.
func TestOperations_HandledAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "webhooks.db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	defer st.Close()
	verifier, err := provider.GitHub("the webhook's secret")
	require.NoError(t, err)
	quiet := webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}
	verifier.Telemetry = quiet
	ran := 0
	route := webhook.Chain(webhook.Verify("github", verifier), webhook.Deduplicate(st, webhook.DedupConfig{Telemetry: quiet}))(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
	send := func() (duplicate bool) {
		w := httptest.NewRecorder()
		route.ServeHTTP(w, webhooktest.Request(t, verifier, "/github", webhook.Event{ID: "72d3162e", Type: "push", Body: []byte(`{}`)}))
		require.Equal(t, http.StatusOK, w.Code)
		return w.Header().Get("Webhook-Duplicate") != ""
	}
	require.False(t, send())
	require.True(t, send())

	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	defer db.Close()
	for _, x := range []struct {
		from, to  time.Duration // from now
		keys      int64
		duplicate bool
	}{
		{-time.Hour, -time.Minute, 0, true},
		{time.Minute, time.Hour, 0, true},
		{-time.Minute, time.Minute, 2, false}, // its identity, and the digest of its body
	} {
		statement := statements(t)["let what succeeded between two times be handled again; 604800 is the window in seconds"]
		at := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(time.DateTime) }
		statement = strings.NewReplacer("604800", "691200", "2026-11-24 08:00:00", at(x.from), "2026-11-24 08:04:59", at(x.to)).Replace(statement)
		res, err := db.Exec(statement)
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		require.Equal(t, x.keys, n)
		require.Equal(t, x.duplicate, send())
	}
	require.Equal(t, 2, ran)
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// rows returns what a query answers, the columns of a row joined by bars.
func rows(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	found, err := db.Query(query)
	require.NoError(t, err)
	defer found.Close()
	names, err := found.Columns()
	require.NoError(t, err)
	for found.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, found.Scan(into...))
		row := make([]string, len(names))
		for i, v := range values {
			row[i] = v.String
		}
		all = append(all, strings.Join(row, "|"))
	}
	require.NoError(t, found.Err())
	return all
}
