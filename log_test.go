package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// Every event is followed: one record when it is received, for debugging if it is
// attempted at once, and one for each attempt that ended.
func TestLog_FollowsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Retry: fixed(3, time.Minute)})
		h := clocked{script: []error{errors.New("ledger is down"), nil}}
		r.inbox.Handle("billing", func(ctx context.Context, e webhook.Event) error {
			time.Sleep(2 * time.Second)
			return h.handle(ctx, e)
		})
		r.run()
		e := event("evt_1", "billing")
		e.Tenant, e.Time = "acme", time.Date(1999, 12, 31, 23, 59, 0, 0, time.UTC)
		e.Proof.SecretID = "k2"
		r.add(e)
		pass(time.Hour)

		about := r.logs.having(t, "event_id", "evt_1")
		require.Len(t, about, 3)
		id := r.only().ID
		same := map[string]any{
			"level": "INFO", "queue": "inbox", "event_id": "evt_1", "event_type": "order.paid", "source": "shop",
			"tenant": "acme", "timestamp": "1999-12-31T23:59:00Z",
		}
		for i, more := range []map[string]any{
			{"msg": "webhook event received", "level": "DEBUG", "status": "queued", "deliveries": 1.0, "duration": 0.0, "secret_id": "k2"},
			{
				"msg": "webhook delivery failed", "status": "failed", "destination": "billing", "delivery_id": id, "attempt": 1.0,
				"duration": 2e9, "error": "ledger is down", "retry_in": 60e9,
			},
			{
				"msg": "webhook delivery processed", "status": "processed", "destination": "billing", "delivery_id": id, "attempt": 2.0,
				"duration": 2e9,
			},
		} {
			want := map[string]any{"time": about[i]["time"]}
			for _, m := range []map[string]any{same, more} {
				maps.Copy(want, m)
			}
			require.Equal(t, want, about[i])
		}
	})
}

// What has to wait is told of when it is received: no attempt may follow for long.
func TestLog_WaitingIsInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		stuck := make(chan struct{})
		r.inbox.HandleWith("billing", func(context.Context, webhook.Event) error { <-stuck; return nil }, webhook.HandlerConfig{Concurrency: 1})
		r.inbox.Handle("audit", new(collector).handle)
		r.run()
		r.add(event("1", "billing"))
		r.add(event("2", "audit", "billing"))
		r.add(event("3", "audit"))
		synctest.Wait()
		for id, level := range map[string]string{"1": "DEBUG", "2": "INFO", "3": "DEBUG"} {
			about := r.logs.having(t, "event_id", id) // its attempt may be told of before it
			about = slices.DeleteFunc(about, func(r map[string]any) bool { return r["msg"] != "webhook event received" })
			require.Len(t, about, 1)
			require.Equal(t, level, about[0]["level"], id)
		}
		close(stuck)
	})
}

func TestLog_Statuses(t *testing.T) {
	for name, c := range map[string]struct {
		result        error
		level, status string
		also          map[string]any
	}{
		"processed": {nil, "INFO", "processed", nil},
		"failed":    {errors.New("down"), "INFO", "failed", map[string]any{"error": "down"}},
		"deferred":  {webhook.RetryAfter(time.Hour, errors.New("busy")), "INFO", "queued", map[string]any{"error": "busy", "retry_in": 3600e9}},
		"dead":      {webhook.Permanent(errors.New("never")), "ERROR", "dead", map[string]any{"error": "never", "reason": "permanent: never"}},
		"discarded": {webhook.Discard("test mode"), "INFO", "discarded", map[string]any{"reason": "test mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", func(context.Context, webhook.Event) error { return c.result })
				stop := r.run()
				r.add(event("1", "billing"))
				synctest.Wait()
				require.NoError(t, stop())
				about := r.logs.having(t, "delivery_id", "")
				require.Len(t, about, 1)
				require.Equal(t, c.level, about[0]["level"])
				require.Equal(t, c.status, about[0]["status"])
				for k, v := range c.also {
					require.Equal(t, v, about[0][k], k)
				}
			})
		})
	}
}

// An inbox that nothing was registered with runs, and says so once.
func TestLog_RunsWithoutAHandler(t *testing.T) {
	for handlers, want := range map[int]int{0: 1, 1: 0} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{})
			for range handlers {
				r.inbox.Handle("billing", new(collector).handle)
			}
			r.run()
			pass(24 * time.Hour)
			require.Error(t, r.inbox.Run(t.Context()), "a second Run")
			said := r.logs.having(t, "msg", "without a handler")
			require.Len(t, said, want)
			for _, s := range said {
				require.Equal(t, "WARN", s["level"])
				require.Equal(t, "inbox", s["queue"])
			}
		})
	}
}

// What is handed back was not tried: that is for debugging alone.
func TestLog_HandBackIsDebug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Drain: time.Second})
		r.inbox.Handle("billing", func(ctx context.Context, _ webhook.Event) error { <-ctx.Done(); return ctx.Err() })
		stop := r.run()
		r.add(event("1", "billing"))
		synctest.Wait()
		require.NoError(t, stop())
		about := r.logs.having(t, "delivery_id", "")
		require.Len(t, about, 1)
		require.Equal(t, "DEBUG", about[0]["level"])
		require.Equal(t, "queued", about[0]["status"])
	})
}

func TestLog_DuplicatesAndConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.add(event("1", "billing"))
		r.add(event("1", "billing"))
		changed := event("1", "billing")
		changed.Body = []byte("other")
		r.add(changed)
		about := r.logs.having(t, "status", "duplicate")
		require.Len(t, about, 2)
		require.NotContains(t, about[0], "reason")
		require.Equal(t, "known with another body: the first one stays", about[1]["reason"])
	})
}

// A known event that gets a handler which it did not have is no new one: the record
// says how many were added.
func TestLog_AddedToAKnownEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		for _, name := range []string{"billing", "audit", "ledger"} {
			r.inbox.Handle(name, new(collector).handle)
		}
		r.add(event("1", "billing"))
		r.add(event("1", "billing", "audit", "ledger"))
		about := r.logs.having(t, "event_id", "1")
		require.Len(t, about, 2)
		require.NotContains(t, about[0], "added")
		require.Equal(t, "queued", about[1]["status"])
		require.EqualValues(t, 3, about[1]["deliveries"])
		require.EqualValues(t, 2, about[1]["added"])
		require.Equal(t, "known already: the deliveries that it did not have were added", about[1]["reason"])
	})
}

// A dead letter that others wait for tells their key, whoever claimed it.
func TestLog_DeadOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		dies := func(context.Context, webhook.Event) error { return webhook.Permanent(errors.New("never")) }
		r.inbox.HandleWith("ledger", dies, webhook.HandlerConfig{OrderBy: func(e webhook.Event) string { return "key\n" + e.ID }})
		r.inbox.Handle("audit", dies)
		r.add(event("stored", "ledger", "audit"))
		r.run()
		r.add(event("born", "ledger", "audit"))
		synctest.Wait()
		for _, id := range []string{"stored", "born"} {
			dead := slices.DeleteFunc(r.logs.having(t, "status", "dead"), func(r map[string]any) bool { return r["event_id"] != id })
			require.Len(t, dead, 2, id)
			for _, d := range dead {
				if d["destination"] == "ledger" {
					require.Equal(t, `key\n`+id, d["order_key"])
				} else {
					require.NotContains(t, d, "order_key")
				}
			}
		}
	})
}

// The record of a route without Verify names the route, where there is a name.
func TestLog_RouteWithoutVerify(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		slog.SetDefault(r.logs.logger()) // Forward has no other
		r.inbox.Handle("billing", new(collector).handle)
		dedup := webhook.Deduplicate(r.mem, webhook.DedupConfig{Telemetry: webhook.Telemetry{Logger: r.logs.logger()}})
		forward := webhook.Forward(func(context.Context, []webhook.Event) error { return nil })
		for pattern, h := range map[string]http.Handler{
			"/receive/{secret}": r.inbox.Receive("billing"),
			"/dedup/{secret}":   dedup(forward),
			"/forward/{secret}": forward,
		} {
			mux := http.NewServeMux()
			mux.Handle(pattern, h)
			mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", strings.Replace(pattern, "{secret}", "MARKED", 1), nil))
			require.Len(t, r.logs.having(t, "route", pattern), 1)
		}
		serve(webhook.Forward(func(context.Context, []webhook.Event) error { return nil }), httptest.NewRequest("POST", "/MARKED", nil))
		all := r.logs.having(t, "msg", "webhook route without Verify")
		require.Len(t, all, 4)
		require.NotContains(t, all[3], "route", "no mux of net/http")
		require.NotContains(t, r.logs.String(), "MARKED")
	})
}

// A flood of refused requests is one record and, ten seconds later, a count.
func TestLog_RejectsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{MaxDepth: 1})
		r.inbox.Handle("billing", new(collector).handle)
		route := believed(r.inbox.Receive("billing"))
		r.add(event("1", "billing"))
		pass(time.Second)
		for range 1000 {
			require.Equal(t, 503, deliver(route, `[{"ID":"2"}]`).Code)
		}
		require.Len(t, r.logs.having(t, "status", "rejected"), 1)
		pass(10 * time.Second)
		rejected := r.logs.having(t, "status", "rejected")
		require.Len(t, rejected, 2)
		require.Equal(t, map[string]any{
			"time": rejected[1]["time"], "level": "WARN", "msg": "webhook requests rejected",
			"status": "rejected", "source": "shop", "reason": "queue_full", "suppressed": 999.0,
		}, rejected[1])
		deliver(route, `[{"ID":"2"}]`)
		pass(time.Minute)
		require.Len(t, r.logs.having(t, "status", "rejected"), 3, "one alone has no count")
	})
}

// A batch that is refused has a record for each event, but not for ten thousand.
func TestLog_RejectedBatch(t *testing.T) {
	for n, records := range map[int]int{2: 2, 100: 100, 101: 100, 5000: 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{})
			r.inbox.Handle("billing", new(collector).handle)
			r.st.onCommit(failingCommit(store.ErrBadData, hasAdds))
			v := webhook.Verifier{
				Keyless: true, Telemetry: unlogged,
				Check: func(context.Context, *webhook.Request) ([]webhook.Event, error) { return make([]webhook.Event, n), nil },
			}
			require.Equal(t, 400, deliver(webhook.Verify("shop", v)(r.inbox.Receive("billing")), "[]").Code)
			rejected := r.logs.having(t, "status", "rejected")
			require.Len(t, rejected, records)
			if n > records {
				require.EqualValues(t, n-records, rejected[records-1]["suppressed"])
			} else {
				require.NotContains(t, rejected[records-1], "suppressed")
			}
		})
	}
}

// Foreign text cannot begin a line of its own, hide in controls, or fill the disk.
func TestLog_HostileText(t *testing.T) {
	hostile := []string{
		"a\nlevel=ERROR msg=forged", "a\r\n{\"msg\":\"forged\"}", "\x1b[2Jcleared", "\u202Egnp.exe", "nul\x00byte",
		"\xff\xfe", strings.Repeat("x", 4000), strings.Repeat("\n", 4000), "\u2028forged",
	}
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				options := &slog.HandlerOptions{Level: slog.LevelDebug}
				var h slog.Handler = slog.NewTextHandler(&out, options)
				if format == "json" {
					h = slog.NewJSONHandler(&out, options)
				}
				r := newRig(t, webhook.QueueConfig{Telemetry: webhook.Telemetry{Logger: slog.New(h)}, Retry: fixed(1)})
				r.inbox.Handle("billing", func(_ context.Context, e webhook.Event) error { return errors.New(e.ID) })
				stop := r.run()
				for i, text := range hostile {
					e := event(text+fmt.Sprint(i), "billing")
					e.Type, e.Source, e.Tenant, e.Subject = text, text, text, text
					r.add(e)
				}
				synctest.Wait()
				require.NoError(t, stop())
				lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
				require.Len(t, lines, 2*len(hostile)+2, "two records an event, and one of the start and of the end each")
				for _, line := range lines {
					require.Less(t, len(line), 10_000)
					for _, r := range line {
						require.True(t, ' ' <= r && r < 0x7f || r == '…' || r == '\uFFFD', "%q in %q", r, line)
					}
					if format == "json" {
						require.True(t, json.Valid([]byte(line)))
						continue
					}
					require.Equal(t, 1, strings.Count(line, " level="), line)
				}
				require.Len(t, r.deliveries(), len(hostile), "stored as they are")
				for i, d := range r.deliveries() {
					require.Equal(t, hostile[i]+fmt.Sprint(i), d.Record.ID)
				}
			})
		})
	}
}

// Payloads, signatures and what handlers panic with are in no record, whatever
// becomes of the event.
func TestLog_NoPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const marked = "MARKED-4242"
		r := newRig(t, webhook.QueueConfig{Retry: fixed(2, time.Minute)})
		r.inbox.Handle("panics", func(_ context.Context, e webhook.Event) error { panic(string(e.Body)) })
		r.inbox.Handle("decodes", func(_ context.Context, e webhook.Event) error {
			var v struct{ N int8 }
			return e.Decode(&v)
		})
		r.inbox.Handle("fine", new(collector).handle)
		r.run()
		body := `[{"ID":"1","To":["panics","decodes","fine"],"X":"` + marked + `"}]`
		req := httptest.NewRequest("POST", "/?token="+marked, strings.NewReader(body))
		req.Header.Set("Authorization", marked)
		req.Header.Set("X-Signature", marked)
		req.Header.Set("Content-Type", "text/plain; boundary="+marked)
		w := httptest.NewRecorder()
		believed(r.inbox.Receive("fine")).ServeHTTP(w, req)
		require.Equal(t, 200, w.Code)
		e := event("2", "panics", "decodes", "fine")
		e.Body = []byte(`{"N": "` + marked + `"}`)
		e.Proof.Keys = [][]byte{[]byte(marked)}
		r.add(e)
		pass(time.Hour)
		require.Equal(t, map[store.State]int{store.Dead: 4, store.Processed: 2}, r.states())
		require.NotContains(t, r.logs.String(), marked)
		for _, d := range r.deliveries() {
			require.NotContains(t, d.Reason, marked)
			for _, a := range d.Attempts {
				require.NotContains(t, a.Err, marked)
			}
		}
	})
}

// Without a Logger records go to slog's default, as it is at that moment.
func TestLog_DefaultLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		inbox, err := webhook.NewInbox(newRig(t, webhook.QueueConfig{}).mem, webhook.InboxConfig{})
		require.NoError(t, err)
		inbox.Handle("billing", new(collector).handle)
		var later logbook
		slog.SetDefault(later.logger())
		_, err = inbox.Add(t.Context(), event("1", "billing"))
		require.NoError(t, err)
		require.Len(t, later.having(t, "status", "queued"), 1)
	})
}
