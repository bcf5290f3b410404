package webhook_test

import (
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

func TestDeduplicate_HandlesOnce(t *testing.T) {
	d := newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "1")
		w.WriteHeader(http.StatusCreated)
		w.Write([]byte("made"))
	})
	w := d.send("1")
	require.Equal(t, http.StatusCreated, w.Code)
	require.Equal(t, "made", w.Body.String())
	require.Equal(t, "1", w.Header().Get("X-Own"))
	require.Empty(t, w.Header().Get("Webhook-Duplicate"))

	w = d.send("1")
	requireDuplicate(t, w)
	require.Empty(t, w.Header().Get("X-Own"))
	require.Equal(t, [][]string{{"1"}}, d.calls())
	require.Equal(t, http.StatusCreated, d.send("2").Code)
}

// What counts as success, and what lets the sender's next try through.
func TestDeduplicate_Outcomes(t *testing.T) {
	status := func(list ...int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, s := range list {
				w.WriteHeader(s)
			}
		}
	}
	writes := func(w http.ResponseWriter) { io.WriteString(w, "done") }
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		known bool
		code  int
	}{
		"nothing written":   {nil, true, 200},
		"200":               {status(200), true, 200},
		"202":               {status(202), true, 202},
		"204":               {status(204), true, 204},
		"299":               {status(299), true, 299},
		"301":               {status(301), false, 301},
		"304":               {status(304), false, 304},
		"400":               {status(400), false, 400},
		"429":               {status(429), false, 429},
		"500":               {status(500), false, 500},
		"503":               {status(503), false, 503},
		"101":               {status(101), false, 101},
		"103, then 200":     {status(103, 200), true, 200},
		"103, then 500":     {status(103, 500), false, 500},
		"100 alone":         {status(100), true, 200},
		"500, then 200":     {status(500, 200), false, 500},
		"200, then 500":     {status(200, 500), true, 200},
		"written, then 500": {func(w http.ResponseWriter, _ *http.Request) { writes(w); w.WriteHeader(500) }, true, 200},
		"flushed, then 500": {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); w.WriteHeader(500) }, true, 200},
		"flushed by control": {func(w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).Flush()
			w.WriteHeader(500)
		}, true, 200},
		"500, written, flush":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); writes(w); w.(http.Flusher).Flush() }, false, 500},
		"copied":               {func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }, true, 200},
		"http.Error of a 4xx":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnprocessableEntity) }, false, 422},
		"redirect to the user": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusTemporaryRedirect) }, false, 307},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDedupRig(t, webhook.DedupConfig{}, c.h)
			srv := httptest.NewUnstartedServer(d.route) // whose rules for a status are the real ones
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.Start()
			defer srv.Close()
			if c.code == 101 {
				d.send("1")
			} else {
				noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				res, err := noRedirect.Post(srv.URL, "", jsonBody(`[{"ID":"1"}]`))
				require.NoError(t, err)
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				require.Equal(t, c.code, res.StatusCode)
			}
			if c.known {
				d.requireKnown("1")
			} else {
				d.send("1")
				require.Len(t, d.calls(), 2, "the sender's next try was refused")
			}
		})
	}
}

// A panic goes on as it is, whatever was answered before, and the key is free.
func TestDeduplicate_Panics(t *testing.T) {
	own := &struct{ text string }{"payload"}
	for name, p := range map[string]any{
		"a value": own, "an error": errors.New("payload"), "abort": http.ErrAbortHandler,
	} {
		for _, answered := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var d *dedupRig
					d = newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
						if len(d.calls()) == 1 {
							if answered {
								w.WriteHeader(http.StatusOK)
							}
							panic(p)
						}
					})
					func() {
						defer func() { require.Same(t, p, recover()) }()
						d.send("1")
					}()
					failed := d.logs.having(t, "status", "failed")
					require.Len(t, failed, 1)
					require.Equal(t, "the handler panicked", failed[0]["reason"])
					require.NotContains(t, d.logs.String(), "payload")
					d.requireNew("1")
					d.requireKnown("1")
				})
			})
		}
	}
}

// So does a handler that leaves its goroutine, as a test's does.
func TestDeduplicate_Goexit(t *testing.T) {
	var d *dedupRig
	d = newDedupRig(t, webhook.DedupConfig{}, func(http.ResponseWriter, *http.Request) {
		if len(d.calls()) == 1 {
			runtime.Goexit()
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { d.send("1") })
	wg.Wait()
	d.requireNew("1")
}

// While one is handled its copies are refused, for as long as it takes: the
// reservation is prolonged.
func TestDeduplicate_NeverTwoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gauge
		d := newDedupRig(t, webhook.DedupConfig{}, func(http.ResponseWriter, *http.Request) {
			g.enter()
			defer g.leave()
			time.Sleep(5*time.Minute - time.Second)
		})
		var wg sync.WaitGroup
		answers := make([]*httptest.ResponseRecorder, 50)
		for i := range answers {
			wg.Go(func() { answers[i] = d.send("1") })
		}
		synctest.Wait()
		for range 29 {
			time.Sleep(10 * time.Second)
			requireBusy(t, d.send("1"))
		}
		wg.Wait()
		ok := 0
		for _, w := range answers {
			if w.Code == http.StatusOK {
				ok++
				continue
			}
			requireBusy(t, w)
		}
		require.Equal(t, 1, ok)
		_, highest, entered := g.seen()
		require.Equal(t, 1, highest)
		require.Equal(t, 1, entered)
		require.Equal(t, 50+29+14, d.keys.reserves, "prolonged each time a third of it was over")
		d.requireKnown("1")
	})
}

func TestDeduplicate_BusyStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{BusyStatus: http.StatusTooEarly}, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
		go d.send("1")
		synctest.Wait()
		w := d.send("1")
		require.Equal(t, http.StatusTooEarly, w.Code)
		require.Equal(t, "5", w.Header().Get("Retry-After"))
		time.Sleep(time.Minute)
	})
}

// A process that dies between reserving and confirming holds the key until its
// reservation ends, and no longer.
func TestDeduplicate_CrashFreesWhenTheReservationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New()
		gone := make(chan struct{})
		dying := newDedupRigOn(t, mem, webhook.DedupConfig{Reservation: 10 * time.Second}, func(http.ResponseWriter, *http.Request) { <-gone })
		go dying.send("1")
		synctest.Wait()
		time.Sleep(4 * time.Second)         // it was prolonged once, at 3⅓ s
		dying.keys.on(func(k *faultyKeys) { // nothing of a dead process gets through
			k.reserve = func(func() ([]bool, error)) ([]bool, error) { return nil, errors.New("dead") }
			k.release = func(func() error) error { return errors.New("dead") }
		})

		next := newDedupRigOn(t, mem, webhook.DedupConfig{}, nil)
		time.Sleep(9 * time.Second) // 13 s
		requireBusy(t, next.send("1"))
		time.Sleep(time.Second) // 14 s, past 13⅓
		next.requireNew("1")
		next.requireKnown("1")
		close(gone)
		time.Sleep(time.Minute)
	})
}

// A handler whose reservation is gone is told: by its store, or by the clock where
// the store cannot be asked. If it then gives up, nobody is told of a success.
func TestDeduplicate_ReservationLost(t *testing.T) {
	for name, c := range map[string]struct {
		lose  func(t *testing.T, d *dedupRig)
		after time.Duration // when the handler is told
	}{
		"somebody else has it": {func(t *testing.T, d *dedupRig) {
			d.mem.Advance(2 * time.Minute) // a clock that was set, or a process that stood still
			go newDedupRigOn(t, d.mem, webhook.DedupConfig{}, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) }).send("1")
		}, 20 * time.Second},
		"somebody else was done with it": {func(t *testing.T, d *dedupRig) {
			d.mem.Advance(2 * time.Minute)
			newDedupRigOn(t, d.mem, webhook.DedupConfig{}, nil).requireNew("1")
		}, 20 * time.Second},
		"the store fails": {func(_ *testing.T, d *dedupRig) {
			d.keys.on(func(k *faultyKeys) {
				k.reserve = func(func() ([]bool, error)) ([]bool, error) { return nil, errors.New("down") }
			})
		}, time.Minute},
		"the store fails later": {func(_ *testing.T, d *dedupRig) {
			time.Sleep(25 * time.Second) // it was prolonged at 20 s
			d.keys.on(func(k *faultyKeys) {
				k.reserve = func(func() ([]bool, error)) ([]bool, error) { return nil, errors.New("down") }
			})
		}, 80 * time.Second},
		"the store hangs": {func(_ *testing.T, d *dedupRig) {
			d.keys.on(func(k *faultyKeys) {
				k.reserve = func(real func() ([]bool, error)) ([]bool, error) {
					time.Sleep(2 * time.Hour)
					return real()
				}
			})
		}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told time.Duration
				start := time.Now()
				d := newDedupRig(t, webhook.DedupConfig{}, func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-r.Context().Done():
						told = time.Since(start)
						assert.ErrorIs(t, context.Cause(r.Context()), store.ErrLeaseLost)
					case <-time.After(time.Hour):
					}
				})
				answered := make(chan *httptest.ResponseRecorder)
				go func() { answered <- d.send("1") }()
				synctest.Wait()
				c.lose(t, d)
				requireUnavailable(t, <-answered)
				require.Equal(t, c.after, told)
				require.Len(t, d.logs.having(t, "msg", "reservation lost"), 1)
				time.Sleep(3 * time.Hour)
			})
		})
	}
}

// A failed renewal or two cost nothing.
func TestDeduplicate_RenewalTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{}, func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Minute) })
		answered := make(chan *httptest.ResponseRecorder)
		go func() { answered <- d.send("1") }()
		synctest.Wait()
		n := 0
		d.keys.on(func(k *faultyKeys) {
			k.reserve = func(real func() ([]bool, error)) ([]bool, error) {
				if n++; n%4 > 0 { // three of four fail
					return nil, errors.New("down")
				}
				return real()
			}
		})
		require.Equal(t, http.StatusOK, (<-answered).Code)
		require.Greater(t, n, 30)
		require.Empty(t, d.logs.having(t, "level", "WARN"))
	})
}

// One that hangs is given up in time for another.
func TestDeduplicate_RenewalHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{}, func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Minute) })
		answered := make(chan *httptest.ResponseRecorder)
		go func() { answered <- d.send("1") }()
		synctest.Wait()
		n := 0
		d.keys.on(func(k *faultyKeys) {
			k.before = func(ctx context.Context) error {
				if n++; n%2 == 0 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}
		})
		require.Equal(t, http.StatusOK, (<-answered).Code)
		require.Empty(t, d.logs.having(t, "level", "WARN"))
	})
}

// A handler that was overtaken and answers 200 all the same leaves the key to the
// other, and the log says so.
func TestDeduplicate_OvertakenAndSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(30 * time.Second)
			w.WriteHeader(http.StatusOK)
		})
		answered := make(chan *httptest.ResponseRecorder)
		go func() { answered <- d.send("1") }()
		synctest.Wait()
		d.mem.Advance(2 * time.Minute)
		other := newDedupRigOn(t, d.mem, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Minute)
			w.WriteHeader(http.StatusInternalServerError)
		})
		go func() { answered <- other.send("1") }()
		require.Equal(t, http.StatusOK, (<-answered).Code)
		require.Len(t, d.logs.having(t, "msg", "reservation lost"), 1)
		require.Len(t, d.logs.having(t, "msg", "not confirmed"), 1)
		requireBusy(t, d.send("1"))
		require.Equal(t, http.StatusInternalServerError, (<-answered).Code)
		d.requireNew("1")
	})
}

// The client's going away ends neither the reservation nor the settling.
func TestDeduplicate_ClientGone(t *testing.T) {
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		known bool
	}{
		"works on and succeeds": {func(w http.ResponseWriter, _ *http.Request) { time.Sleep(5 * time.Minute); w.WriteHeader(200) }, true},
		"works on and fails":    {func(w http.ResponseWriter, _ *http.Request) { time.Sleep(5 * time.Minute); w.WriteHeader(500) }, false},
		"gives up":              {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDedupRig(t, webhook.DedupConfig{}, c.h)
				ctx, hangUp := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { d.sendIn(ctx, "1"); close(done) }()
				synctest.Wait()
				hangUp()
				if c.known || name == "works on and fails" {
					time.Sleep(4 * time.Minute)
					requireBusy(t, d.send("1"))
				}
				<-done
				if c.known {
					d.requireKnown("1")
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				d.sendIn(ctx, "1")
				require.Len(t, d.calls(), 2)
			})
		})
	}
}

func TestDeduplicate_WithoutVerify(t *testing.T) {
	var logs logbook
	dedup := webhook.Deduplicate(memory.New(), webhook.DedupConfig{Telemetry: webhook.Telemetry{Logger: logs.logger()}})
	for name, route := range map[string]http.Handler{
		"forgotten":   dedup(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("ran") })),
		"wrong order": dedup(authentic(0, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("ran") }))),
	} {
		before := len(logs.having(t, "level", "ERROR"))
		for range 3 {
			require.Equal(t, http.StatusInternalServerError, deliver(route, `[{"ID":"1"}]`).Code, name)
		}
		require.Len(t, logs.having(t, "level", "ERROR"), before+1, name)
	}
}

func TestDeduplicate_WiringPanics(t *testing.T) {
	mem := memory.New()
	for want, f := range map[string]func(){
		"webhook: Deduplicate: keys is nil":                               func() { webhook.Deduplicate(nil, webhook.DedupConfig{}) },
		"webhook: Deduplicate: the next handler is nil":                   func() { webhook.Deduplicate(mem, webhook.DedupConfig{})(nil) },
		"webhook: Deduplicate: Window is -1s, must not be negative":       func() { webhook.Deduplicate(mem, webhook.DedupConfig{Window: -time.Second}) },
		"webhook: Deduplicate: Reservation is 1ms, must be at least 1s":   func() { webhook.Deduplicate(mem, webhook.DedupConfig{Reservation: time.Millisecond}) },
		"webhook: Deduplicate: BusyStatus is 202, must be 400 to 599":     func() { webhook.Deduplicate(mem, webhook.DedupConfig{BusyStatus: 202}) },
		"webhook: Deduplicate: Reservation is -1m0s, must be at least 1s": func() { webhook.Deduplicate(mem, webhook.DedupConfig{Reservation: -time.Minute}) },
		"webhook: Forward: the function is nil":                           func() { webhook.Forward(nil) },
	} {
		require.PanicsWithValue(t, want, f)
	}
}

// Each handled event is a record with its outcome, and so is each duplicate.
func TestDeduplicate_Logs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *dedupRig
		d = newDedupRig(t, webhook.DedupConfig{Space: "billing"}, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(2 * time.Second)
			if len(d.calls()) == 1 {
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		go d.send("evt_1")
		synctest.Wait()
		requireBusy(t, d.send("evt_1"))
		time.Sleep(3 * time.Second)
		d.requireNew("evt_1")
		d.requireKnown("evt_1")

		about := d.logs.having(t, "event_id", "evt_1")
		same := map[string]any{
			"level": "INFO", "event_id": "evt_1", "event_type": "order.paid", "source": "shop", "space": "billing",
		}
		for i, more := range []map[string]any{
			{"msg": "webhook event received", "status": "duplicate", "duration": 0.0, "http_status": 409.0, "reason": "it is being handled"},
			{"msg": "webhook event failed", "status": "failed", "duration": 2e9, "http_status": 502.0},
			{"msg": "webhook event processed", "status": "processed", "duration": 2e9, "http_status": 200.0},
			{"msg": "webhook event received", "status": "duplicate", "duration": 0.0},
		} {
			want := map[string]any{"time": about[i]["time"]}
			maps.Copy(want, same)
			maps.Copy(want, more)
			require.Equal(t, want, about[i])
		}
		require.Len(t, about, 4)
		require.NotContains(t, d.logs.String(), "payload")
	})
}
