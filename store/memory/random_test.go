package memory_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// TestStore_IsItsModel does at random what can be done to a store, and compares
// all that can be seen of it with the model after each step.
func TestStore_IsItsModel(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // time stands still
				p := &pair{T: t, st: memory.New(), m: newModel(), Rand: rand.New(rand.NewPCG(seed, 1))}
				for i := range 400 {
					p.step()
					if i%8 == 0 { // it costs more than the steps
						p.compare()
					}
				}
			})
		})
	}
}

// pair is a store and its model.
type pair struct {
	*testing.T
	*rand.Rand

	st    *memory.Store
	m     *model
	nonce byte
}

const queue = "inbox"

func (p *pair) destination() string { return string(rune('A' + p.IntN(3))) }
func (p *pair) orderKey() string    { return []string{"", "", "k", "l"}[p.IntN(4)] }
func (p *pair) minutes(n int) time.Duration {
	return time.Duration(p.IntN(n)) * time.Minute
}

func (p *pair) step() {
	switch p.IntN(12) {
	case 0, 1, 2:
		p.add()
	case 3, 4:
		p.claim()
	case 5, 6, 7:
		p.settle()
	case 8:
		p.renew()
	case 9:
		p.hold()
	case 10:
		p.update()
	case 11:
		if p.IntN(3) == 0 {
			p.purge()
			return
		}
		d := p.minutes(10) - 2*time.Minute
		p.st.Advance(d)
		p.m.skew += d
	}
	p.m.note()
}

func (p *pair) commit(b store.Batch) *store.Results {
	p.Helper()
	res, err := p.st.Commit(p.Context(), &b)
	require.NoError(p, err)
	return res
}

func (p *pair) add() {
	id := byte(p.IntN(40))
	tenant := string(rune('x' + id%3))
	p.nonce++
	a := store.Add{
		Nonce: [16]byte{p.nonce, 1}, Queue: queue, Identity: [32]byte{id, 1}, Known: p.minutes(30),
		Record: &store.Record{ID: string(rune(id)), Tenant: tenant, Body: []byte{id}},
	}
	for _, i := range p.Perm(3)[:1+p.IntN(3)] {
		target := store.Target{Destination: string(rune('A' + i)), OrderKey: p.orderKey()}
		if p.IntN(4) == 0 {
			target.After = p.minutes(5)
		}
		if p.IntN(2) == 0 {
			target.Lease = p.minutes(5)
		}
		a.To = append(a.To, target)
	}
	added := p.commit(store.Batch{Adds: []store.Add{a}}).Adds[0]

	e, dup := p.m.events[id]
	require.Equal(p, dup, added.Duplicate)
	if !dup {
		e = &modelEvent{id: id, tenant: tenant, received: p.m.now(), names: map[string]*modelled{}}
		p.m.events[id] = e
	}
	if until := p.m.now().Add(a.Known); until.After(e.known) {
		e.known = until
	}
	missing := 0
	for i, target := range a.To {
		d, named := e.names[target.Destination]
		if !named {
			d = &modelled{event: e, Delivery: store.Delivery{
				ID: added.Deliveries[i].ID, Destination: target.Destination, OrderKey: target.OrderKey,
				State: store.Queued, Received: e.received, Due: p.m.now().Add(target.After),
			}}
			if dup {
				missing++
			} else if target.Lease > 0 && target.After == 0 && !p.m.held(target.Destination, "") &&
				(target.OrderKey == "" || p.m.head(target.Destination, target.OrderKey) == nil && !p.m.held(target.Destination, target.OrderKey)) {
				d.State, d.Token, d.Until = store.Processing, 1, p.m.now().Add(target.Lease)
				require.EqualValues(p, 1, added.Deliveries[i].Token)
			}
			e.names[target.Destination] = d
			p.m.all = append(p.m.all, d)
		}
		if d == nil {
			require.Empty(p, added.Deliveries[i].ID)
			continue
		}
		require.Equal(p, d.ID, added.Deliveries[i].ID)
		require.Equal(p, d.State, added.Deliveries[i].State)
	}
	require.Equal(p, missing, added.Missing)
}

func (p *pair) claim() {
	c := store.Claim{Free: map[string]int{}, Other: p.IntN(3), Max: 1 + p.IntN(6), Lease: p.minutes(5)}
	for range p.IntN(3) {
		c.Free[p.destination()] = p.IntN(4)
	}
	got, err := p.st.Claim(p.Context(), queue, c)
	require.NoError(p, err)
	p.m.claimed(p.T, c, got)
}

// any returns a delivery, nil if there is none; most often one that is leased.
func (p *pair) any() *modelled {
	if len(p.m.all) == 0 {
		return nil
	}
	for range 5 {
		if d := p.m.all[p.IntN(len(p.m.all))]; d.State == store.Processing {
			return d
		}
	}
	return p.m.all[p.IntN(len(p.m.all))]
}

func (p *pair) settle() {
	d := p.any()
	if d == nil {
		return
	}
	s := store.Settle{Delivery: d.ID, Token: d.Token - min(d.Token, uint64(p.IntN(5)/4)), Unblock: p.IntN(2) == 0, Spend: p.IntN(2) == 0}
	s.To = []store.State{store.Processed, store.Dead, store.Discarded, store.Queued}[p.IntN(4)]
	s.After = p.minutes(4)
	s.Attempt = &store.Attempt{Outcome: []string{store.OutcomeProcessed, store.OutcomeFailed, store.OutcomeDeferred}[p.IntN(3)]}
	want := store.Done
	switch {
	case s.Token != d.Token:
		want = store.LeaseLost
	case d.State != store.Processing:
		want = store.AlreadySettled
	}
	require.Equal(p, want, p.commit(store.Batch{Settles: []store.Settle{s}}).Settles[0])
	if want != store.Done {
		return
	}
	d.State, d.Until = s.To, time.Time{}
	if s.Spend {
		d.Spent++
	}
	if s.To == store.Queued {
		d.Due = p.m.now().Add(s.After)
	} else {
		d.Due = p.m.now()
	}
	d.unblocked = s.Unblock
	if since := p.m.failed[d.Destination]; s.Attempt.Outcome == store.OutcomeFailed && since.IsZero() {
		p.m.failed[d.Destination] = p.m.now()
	} else if s.Attempt.Outcome == store.OutcomeProcessed {
		p.m.failed[d.Destination] = time.Time{}
	}
}

func (p *pair) renew() {
	d := p.any()
	if d == nil {
		return
	}
	r := store.Renew{Delivery: d.ID, Token: d.Token, For: p.minutes(5)}
	want := store.LeaseLost
	if d.State == store.Processing {
		want = store.Done
		d.Until = p.m.now().Add(r.For)
	}
	require.Equal(p, want, p.commit(store.Batch{Renews: []store.Renew{r}}).Renews[0])
}

func (p *pair) hold() {
	kinds := []store.HoldKind{store.Paused, store.Disabled, store.Broken, store.Slowed}
	h := store.Hold{Destination: p.destination(), OrderKey: p.orderKey(), Kind: kinds[p.IntN(4)]}
	until := p.m.now().Add(1000 * time.Hour)
	x := h
	x.Queue = queue
	switch p.IntN(4) {
	case 0:
		p.m.holds[h] = until
	case 1:
		x.For = p.minutes(6) + time.Second
		p.m.holds[h] = p.m.now().Add(x.For)
	case 2:
		x.Release = true
		delete(p.m.holds, h)
	case 3:
		x.Release, x.Kind = true, ""
		for _, kind := range kinds {
			h.Kind = kind
			delete(p.m.holds, h)
		}
	}
	require.Equal(p, store.Done, p.commit(store.Batch{Holds: []store.Hold{x}}).Holds[0])
}

func (p *pair) update() {
	var ds []*modelled
	var ids []string
	for range p.IntN(4) {
		if d := p.any(); d != nil && !slices.Contains(ids, d.ID) {
			ds, ids = append(ds, d), append(ids, d.ID)
		}
	}
	c := store.Change{To: []store.State{"", store.Queued, store.Queued, store.Dead, store.Discarded}[p.IntN(5)]}
	if p.IntN(3) == 0 {
		c.From = []store.State{store.Dead}
	}
	if p.IntN(3) == 0 {
		c.Destination = p.destination()
	}
	n, err := p.st.Update(p.Context(), queue, ids, c)
	require.NoError(p, err)

	want := 0
	for _, d := range ds {
		there := d.event.names[c.Destination]
		if d.State == store.Processing || len(c.From) > 0 && d.State != store.Dead ||
			c.Destination != "" && there != nil && there.Destination == c.Destination {
			continue
		}
		want++
		if c.Destination != "" {
			d.Destination = c.Destination
			d.event.names[c.Destination] = d
		}
		switch c.To {
		case store.Queued:
			d.State, d.Due, d.Spent, d.Lost = c.To, p.m.now(), 0, 0
		case store.Dead, store.Discarded:
			if d.State != store.Dead {
				d.unblocked = false
			}
			d.State, d.Due = c.To, p.m.now()
		default:
		}
	}
	require.Equal(p, want, n)
}

func (p *pair) purge() {
	r := store.Retention{Processed: p.minutes(15), Dead: p.minutes(30), Keys: p.minutes(20)}
	got := purgeAll(p, p.st, r)

	want := 0
	p.m.all = slices.DeleteFunc(p.m.all, func(d *modelled) bool {
		age := r.Processed
		if d.State == store.Dead {
			age = r.Dead
		}
		if d.undone() || age == 0 || d.Due.Add(age).After(p.m.now()) {
			return false
		}
		want++
		for name, x := range d.event.names {
			if x == d {
				d.event.names[name] = nil
			}
		}
		return true
	})
	for id, e := range p.m.events {
		live := false
		for _, d := range e.names {
			live = live || d != nil
		}
		if !live && !e.known.After(p.m.now()) && !e.received.Add(r.Keys).After(p.m.now()) {
			delete(p.m.events, id)
			want++
		}
	}
	require.Equal(p, want, got)
	for h, until := range p.m.holds { // even if the clock is set back
		if !until.After(p.m.now()) {
			delete(p.m.holds, h)
		}
	}
	p.m.note()
}

// compare looks at all that Find and Stats show.
func (p *pair) compare() {
	p.Helper()
	var got []store.Delivery
	for after := ""; ; {
		page, next, err := p.st.Find(p.Context(), queue, store.Filter{}, after, 1+p.IntN(9))
		require.NoError(p, err)
		got = append(got, page...)
		if after = next; next == "" {
			break
		}
	}
	require.Len(p, got, len(p.m.all))
	for i, d := range p.m.all {
		want := d.Delivery
		want.Queue, want.Record = queue, got[i].Record
		require.Equal(p, want, got[i])
		require.Nil(p, got[i].Record.Body)
	}

	rows, _, err := p.st.Stats(p.Context(), queue, "", 0)
	require.NoError(p, err)
	for _, row := range rows {
		require.Len(p, row.Held, p.m.standing(row.Destination))
		row.Held = nil
		require.Equal(p, p.m.stats(row.Destination), row)
	}
}
