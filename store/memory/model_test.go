package memory_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/surehook/webhook/store"
)

// model is the contract without any cleverness: it looks at everything each
// time. It is what the heaps are compared with.
type model struct {
	skew   time.Duration
	all    []*modelled              // in the order of their commits
	holds  map[store.Hold]time.Time // by destination, key and kind alone: until
	served map[lane]int
	claims int
	events map[byte]*modelEvent
	failed map[string]time.Time // FailingSince
	blockd map[[2]string]time.Time
}

type modelEvent struct {
	id       byte
	tenant   string
	received time.Time
	known    time.Time
	names    map[string]*modelled // nil: purged
}

type modelled struct {
	store.Delivery
	event     *modelEvent
	unblocked bool
}

type lane struct{ destination, tenant string }

func newModel() *model {
	return &model{
		holds:  map[store.Hold]time.Time{},
		served: map[lane]int{},
		events: map[byte]*modelEvent{},
		failed: map[string]time.Time{},
		blockd: map[[2]string]time.Time{},
	}
}

func (m *model) now() time.Time { return time.Now().UTC().Round(0).Add(m.skew) }

func (m *model) held(destination, key string) bool {
	for h, until := range m.holds {
		if h.Destination == destination && h.OrderKey == key && until.After(m.now()) {
			return true
		}
	}
	return false
}

func (d *modelled) undone() bool { return d.State == store.Queued || d.State == store.Processing }

// head returns the one of an ordering key that is leased, else the first that is
// to be done, or that is dead and blocks.
func (m *model) head(destination, key string) *modelled {
	for _, d := range m.all {
		if d.Destination == destination && d.OrderKey == key && d.State == store.Processing {
			return d
		}
	}
	for _, d := range m.all {
		if d.Destination == destination && d.OrderKey == key && (d.undone() || d.State == store.Dead && !d.unblocked) {
			return d
		}
	}
	return nil
}

// due returns when d may be claimed, and whether ever as things stand.
func (m *model) due(d *modelled) bool {
	at := d.Due
	if d.State == store.Processing {
		at = d.Until
	}
	return d.undone() && !at.After(m.now()) && !m.held(d.Destination, "") &&
		(d.OrderKey == "" || m.head(d.Destination, d.OrderKey) == d && !m.held(d.Destination, d.OrderKey))
}

// note remembers since when keys are blocked; it is called after every change.
func (m *model) note() {
	now := map[[2]string]time.Time{}
	for _, d := range m.all {
		k := [2]string{d.Destination, d.OrderKey}
		if h := m.head(d.Destination, d.OrderKey); d.OrderKey != "" && h != nil && h.State == store.Dead {
			since, ok := m.blockd[k]
			if !ok {
				since = m.now()
			}
			now[k] = since
		}
	}
	m.blockd = now
}

// claimed checks what a Claim returned, delivery by delivery, and does it too.
func (m *model) claimed(t *testing.T, c store.Claim, got []store.Delivery) {
	t.Helper()
	room := map[string]int{}
	left := func(destination string) int {
		if _, ok := room[destination]; !ok {
			free, named := c.Free[destination]
			if !named {
				free = c.Other
			}
			room[destination] = free
		}
		return room[destination]
	}
	candidates := func() (ds []*modelled) {
		for _, d := range m.all {
			if m.due(d) && left(d.Destination) > 0 && !slices.ContainsFunc(got, func(g store.Delivery) bool { return g.ID == d.ID && g.Token == d.Token }) {
				ds = append(ds, d)
			}
		}
		return ds
	}
	for _, g := range got {
		ds := candidates()
		i := slices.IndexFunc(ds, func(d *modelled) bool { return d.ID == g.ID })
		require.GreaterOrEqual(t, i, 0, "claimed %s of %s, which is not to be had: %+v", g.ID, g.Destination, g)
		d := ds[i]
		l := lane{d.Destination, d.event.tenant}
		for _, other := range ds {
			require.LessOrEqual(t, m.served[l], m.served[lane{other.Destination, other.event.tenant}], "not the least recently served first")
		}
		if d.State == store.Processing {
			d.Lost++
		}
		d.State, d.Token, d.Until = store.Processing, d.Token+1, m.now().Add(c.Lease)
		m.claims++
		m.served[l] = m.claims
		room[d.Destination]--
		require.Equal(t, d.Token, g.Token)
		require.Equal(t, d.Until, g.Until)
		require.Equal(t, m.failed[d.Destination], g.FailingSince)
		require.NotNil(t, g.Record.Body)
	}
	if len(got) < c.Max {
		require.Empty(t, candidates(), "left, though there was room for it")
	}
}

// stats returns the row of destination, "" for the whole queue.
func (m *model) stats(destination string) store.Stats {
	st := store.Stats{Destination: destination}
	in := func(name string) bool { return destination == "" || destination == name }
	earlier := func(a *time.Time, b time.Time) {
		if a.IsZero() || b.Before(*a) {
			*a = b
		}
	}
	for _, d := range m.all {
		if !in(d.Destination) {
			continue
		}
		switch d.State {
		case store.Queued:
			st.Queued++
			earlier(&st.Oldest, d.Received)
		case store.Processing:
			st.Processing++
		case store.Dead:
			st.Dead++
		default:
		}
	}
	for k, since := range m.blockd {
		if in(k[0]) {
			st.BlockedKeys++
			earlier(&st.BlockedSince, since)
		}
	}
	for name, since := range m.failed {
		if in(name) && !since.IsZero() {
			earlier(&st.FailingSince, since)
		}
	}
	return st
}

// standing returns how many holds stand.
func (m *model) standing(destination string) (n int) {
	for h, until := range m.holds {
		if (destination == "" || h.Destination == destination) && until.After(m.now()) {
			n++
		}
	}
	return n
}
