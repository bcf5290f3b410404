package webhook_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

func jsonBody(s string) io.Reader { return strings.NewReader(s) }

// A batch is one unit: the handler runs once, and is told what is new.
func TestDeduplicate_Batch(t *testing.T) {
	var body string
	d := newDedupRig(t, webhook.DedupConfig{}, func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		body = string(b)
	})
	d.send("1", "3")
	w := d.send("1", "2", "3", "4")
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, w.Header().Get("Webhook-Duplicate"))
	require.Equal(t, [][]string{{"1", "3"}, {"2", "4"}}, d.calls())
	require.JSONEq(t, `[{"ID":"1"},{"ID":"2"},{"ID":"3"},{"ID":"4"}]`, body, "the body is the whole request's")
	require.Len(t, d.logs.having(t, "status", "duplicate"), 2)
	d.requireKnown("1", "2", "3", "4")
	d.requireKnown("4", "2")

	d.send("5", "5", "1", "5")
	require.Equal(t, []string{"5"}, d.calls()[2], "one event, however often the batch has it")
}

// A batch that failed is free as a whole; what was known of it stays known.
func TestDeduplicate_BatchFails(t *testing.T) {
	var d *dedupRig
	d = newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) {
		if len(d.calls()) == 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	d.send("1")
	require.Equal(t, http.StatusInternalServerError, d.send("1", "2", "3").Code)
	d.requireKnown("1")
	d.requireNew("2")
	d.send("1", "2", "3")
	require.Equal(t, []string{"3"}, d.calls()[3])
}

// If one event of a batch is being handled, the batch waits, and takes nothing.
func TestDeduplicate_BatchBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{}, func(_ http.ResponseWriter, r *http.Request) {
			if webhook.Events(r.Context())[0].ID == "slow" {
				time.Sleep(time.Second)
			}
		})
		go d.send("slow")
		synctest.Wait()
		requireBusy(t, d.send("1", "slow", "2"))
		require.Len(t, d.logs.having(t, "reason", "it, or another event of its request, is being handled"), 3)
		d.requireNew("1")
		time.Sleep(time.Minute)
		d.send("1", "slow", "2")
		require.Equal(t, [][]string{{"slow"}, {"1"}, {"2"}}, d.calls())
	})
}

// A valid batch of none is passed on, and leaves nothing.
func TestDeduplicate_EmptyBatch(t *testing.T) {
	d := newDedupRig(t, webhook.DedupConfig{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	for range 2 {
		w := d.send()
		require.Equal(t, http.StatusAccepted, w.Code)
		require.Empty(t, w.Header().Get("Webhook-Duplicate"))
	}
	require.Len(t, d.calls(), 2)
	require.Zero(t, d.keys.reserves)
}

// What makes an event the same, and what does not.
func TestDeduplicate_Keys(t *testing.T) {
	const first = `[{"Tenant":"acme","Source":"shop","ID":"1","Keys":["k1","k2"]}]`
	for name, c := range map[string]struct {
		body  string
		known bool
	}{
		"the same":                 {first, true},
		"same identity, no key":    {`[{"Tenant":"acme","Source":"shop","ID":"1"}]`, true},
		"another id, one same key": {`[{"Tenant":"acme","Source":"shop","ID":"2","Keys":["x","k2"]}]`, true},
		"another id":               {`[{"Tenant":"acme","Source":"shop","ID":"2","Keys":["x"]}]`, false},
		"another tenant":           {`[{"Tenant":"bcme","Source":"shop","ID":"1","Keys":["k1"]}]`, false},
		"another source":           {`[{"Tenant":"acme","Source":"shed","ID":"1","Keys":["k1"]}]`, false},
		"parts moved":              {`[{"Tenant":"acmes","Source":"hop","ID":"1","Keys":["k1"]}]`, false},
		"a separator":              {`[{"Tenant":"acme\u0000shop","Source":"1","ID":""}]`, false},
		"an id that is a key":      {`[{"Tenant":"acme","Source":"shop","ID":"k1"}]`, false},
		"a key that is an id":      {`[{"Tenant":"acme","Source":"shop","ID":"2","Keys":["1"]}]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDedupRig(t, webhook.DedupConfig{}, nil)
			require.Equal(t, http.StatusOK, deliver(d.route, first).Code)
			w := deliver(d.route, c.body)
			if c.known {
				requireDuplicate(t, w)
				require.Len(t, d.calls(), 1)
				return
			}
			require.Equal(t, http.StatusOK, w.Code)
			require.Len(t, d.calls(), 2)
		})
	}
}

// Who captured a request and sends it under ids that are still to come makes none of
// them known, and holds none of them up.
func TestDeduplicate_ReplayUnderAnotherID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDedupRig(t, webhook.DedupConfig{}, func(_ http.ResponseWriter, r *http.Request) {
			if webhook.Events(r.Context())[0].ID == "slow" {
				time.Sleep(time.Minute)
			}
		})
		deliver(d.route, `[{"ID":"1","Keys":["captured"]}]`)
		requireDuplicate(t, deliver(d.route, `[{"ID":"2","Keys":["captured"]}]`))
		requireDuplicate(t, deliver(d.route, `[{"ID":"3","Keys":["captured","next"]}]`))
		d.requireNew("2")

		// Neither inside of a batch in which something is new.
		go deliver(d.route, `[{"ID":"slow"},{"ID":"4","Keys":["captured"]}]`)
		synctest.Wait()
		d.requireNew("4")
		time.Sleep(time.Hour)
		deliver(d.route, `[{"ID":"5"},{"ID":"6","Keys":["captured"]}]`)
		d.requireNew("6")
		d.requireKnown("5")
		require.Equal(t, http.StatusOK, deliver(d.route, `[{"ID":"7","Keys":["next"]}]`).Code)
		require.Equal(t, []string{"7"}, d.calls()[len(d.calls())-1])
	})
}

func TestDeduplicate_SpacesNeverMeet(t *testing.T) {
	mem := memory.New()
	for _, space := range []string{"", "audit", "audit2"} {
		d := newDedupRigOn(t, mem, webhook.DedupConfig{Space: space}, nil)
		d.requireNew("1")
		d.requireKnown("1")
	}
	newDedupRigOn(t, mem, webhook.DedupConfig{Space: "dedup"}, nil).requireKnown("1")
}

func TestDeduplicate_Window(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		c       webhook.DedupConfig
		horizon time.Duration
		want    time.Duration
	}{
		"default":                {want: 7 * day},
		"a short horizon":        {horizon: 3 * day, want: 7 * day},
		"a long horizon":         {horizon: 30 * day, want: 31 * day},
		"its own":                {c: webhook.DedupConfig{Window: time.Hour}, want: time.Hour},
		"its own, for all sakes": {c: webhook.DedupConfig{Window: time.Hour}, horizon: 30 * day, want: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				c.c.Telemetry = unlogged
				route := authentic(c.horizon, webhook.Deduplicate(memory.New(), c.c)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n++ })))
				deliver(route, `[{"ID":"1"}]`)
				time.Sleep(c.want - time.Second)
				requireDuplicate(t, deliver(route, `[{"ID":"1"}]`))
				time.Sleep(time.Second)
				deliver(route, `[{"ID":"1"}]`)
				require.Equal(t, 2, n)
			})
		})
	}
}
