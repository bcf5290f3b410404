package webhook_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

var errFull = errors.New("disk is full")

// What is not reserved is not handled, and the sender comes again.
func TestDeduplicate_ReserveFails(t *testing.T) {
	for name, reserve := range map[string]func(real func() ([]bool, error)) ([]bool, error){
		"before": func(func() ([]bool, error)) ([]bool, error) { return nil, errFull },
		// It may have been written all the same: the next try must not be refused for
		// a minute.
		"after": func(real func() ([]bool, error)) ([]bool, error) {
			if _, err := real(); err != nil {
				return nil, err
			}
			return nil, errFull
		},
		"forgotten": func(real func() ([]bool, error)) ([]bool, error) {
			_, err := real()
			return nil, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDedupRig(t, webhook.DedupConfig{}, nil)
				d.keys.on(func(k *faultyKeys) { k.reserve = reserve })
				start := time.Now()
				requireUnavailable(t, d.send("1"))
				require.Zero(t, time.Since(start), "nobody is kept waiting")
				require.Empty(t, d.calls())
				rejected := d.logs.having(t, "status", "rejected")
				require.Len(t, rejected, 1)
				require.Equal(t, "WARN", rejected[0]["level"])
				require.Equal(t, "store", rejected[0]["reason"])
				require.Equal(t, "shop", rejected[0]["source"])
				require.InDelta(t, 503, rejected[0]["http_status"], 0)

				d.keys.on(func(k *faultyKeys) { k.reserve = nil })
				d.requireNew("1")
				time.Sleep(time.Minute)
			})
		})
	}
}

// A middleware that holds a transaction open around the route must not wait for
// itself.
func TestDeduplicate_InTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{}, nil)
		require.Equal(t, http.StatusInternalServerError, d.sendIn(store.InTx(t.Context()), "1").Code)
		require.Empty(t, d.calls())
		require.Equal(t, "wiring", d.logs.having(t, "status", "rejected")[0]["reason"])
		time.Sleep(time.Minute)
	})
}

// A confirmation is tried again, for a while: also one that came through.
func TestDeduplicate_ConfirmTriedAgain(t *testing.T) {
	for name, written := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDedupRig(t, webhook.DedupConfig{}, nil)
				d.keys.on(func(k *faultyKeys) {
					k.confirm = func(real func() error) error {
						if len(k.windows) > 3 {
							return real()
						}
						if written {
							require.NoError(t, real())
						}
						return errFull
					}
				})
				d.requireNew("1")
				require.Len(t, d.keys.windows, 4)
				d.requireKnown("1")
				require.Empty(t, d.logs.having(t, "level", "WARN"))
			})
		})
	}
}

// If it cannot be confirmed the answer stands: the sender was told of the success and
// does not come again. Copies that are under way are refused until the reservation
// ends, and then the event is new.
func TestDeduplicate_ConfirmFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{}, nil)
		d.keys.on(func(k *faultyKeys) { k.confirm = func(func() error) error { return errFull } })
		start := time.Now()
		d.requireNew("1")
		require.Equal(t, 3*time.Second, time.Since(start), "how long it is tried")
		failed := d.logs.having(t, "msg", "not confirmed")
		require.Len(t, failed, 1)
		require.Equal(t, "WARN", failed[0]["level"])
		require.Equal(t, "disk is full", failed[0]["error"])

		d.keys.on(func(k *faultyKeys) { k.confirm = nil })
		requireBusy(t, d.send("1"))
		time.Sleep(time.Until(start.Add(time.Minute - time.Second)))
		requireBusy(t, d.send("1"))
		time.Sleep(time.Second)
		d.requireNew("1")
		d.requireKnown("1")
	})
}

// What cannot be released runs out.
func TestDeduplicate_ReleaseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *dedupRig
		d = newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
			if len(d.calls()) == 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		d.keys.on(func(k *faultyKeys) { k.release = func(func() error) error { return errFull } })
		require.Equal(t, http.StatusInternalServerError, d.send("1").Code)
		require.Len(t, d.logs.having(t, "msg", "not released"), 1)
		requireBusy(t, d.send("1"))
		time.Sleep(time.Minute)
		d.requireNew("1")
	})
}
