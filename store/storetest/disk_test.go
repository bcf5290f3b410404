package storetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// disk plays the server of a database: what a store keeps, and the locks of the
// transactions that are open on it. Processes come and go.
type disk struct {
	mu    sync.Mutex // one write at a time, and guards the rest
	kept  *memory.Store
	skew  time.Duration // of its clock
	locks map[any]*tx   // by delivery, identity or key
	freed chan struct{} // closed when locks go
	count byte          // processes so far
}

func newDisk() *disk {
	return &disk{kept: memory.New(), locks: map[any]*tx{}, freed: make(chan struct{})}
}

func (d *disk) advance(span time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.skew += span
	d.kept.Advance(span)
}

// process begins one more.
func (d *disk) process() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	return &process{disk: d, number: d.count}
}

// process is a store.Store on a disk, until it is closed.
type process struct {
	disk   *disk
	number byte
	writes sync.RWMutex // guards closed; held while one is under way
	closed bool
}

// enter lets a call begin, which ends with a call of leave.
func (p *process) enter(ctx context.Context) (leave func(), err error) {
	if err := store.InTransaction(ctx); err != nil {
		return nil, err
	}
	p.writes.RLock()
	if p.closed {
		p.writes.RUnlock()
		return nil, store.ErrClosed
	}
	return p.writes.RUnlock, nil
}

func (p *process) Close() error {
	p.writes.Lock()
	defer p.writes.Unlock()
	p.closed = true
	return nil
}

func (p *process) Info() store.Info {
	return store.Info{Name: "disk", Promise: "the end of the process", Durable: true}
}

func (p *process) Wake(queue string) <-chan struct{} { return p.disk.kept.Wake(queue) }

// Commit waits for the end of a transaction that has a lock on an add, as a Group
// does that tries it again. Settles and renewals of what is locked are told so.
func (p *process) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		res, freed, err := p.disk.write(ctx, nil, b)
		if !errors.Is(err, store.ErrRetry) {
			return res, err
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// write is the write of b by t, or by nobody's transaction. With ErrRetry it
// returns what is closed when it may be tried again.
func (d *disk) write(ctx context.Context, by *tx, b *store.Batch) (_ *store.Results, freed <-chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range b.Adds {
		for _, key := range addLocks(a) {
			if d.locked(key, by) {
				return nil, d.freed, store.ErrRetry
			}
		}
	}
	free := store.Batch{Adds: b.Adds, Holds: b.Holds}
	for _, s := range b.Settles {
		if !d.locked(s.Delivery, by) {
			free.Settles = append(free.Settles, s)
		}
	}
	for _, r := range b.Renews {
		if !d.locked(r.Delivery, by) {
			free.Renews = append(free.Renews, r)
		}
	}
	done, err := d.kept.Commit(ctx, &free)
	if err != nil {
		return nil, nil, err
	}
	res := &store.Results{Adds: done.Adds, Holds: done.Holds}
	for _, s := range b.Settles {
		res.Settles = append(res.Settles, d.next(s.Delivery, by, &done.Settles))
	}
	for _, r := range b.Renews {
		res.Renews = append(res.Renews, d.next(r.Delivery, by, &done.Renews))
	}
	return res, nil, nil
}

// next is the result of what concerns a delivery: Locked, or the first of done.
func (d *disk) next(delivery string, by *tx, done *[]store.Result) store.Result {
	if d.locked(delivery, by) {
		return store.Locked
	}
	r := (*done)[0]
	*done = (*done)[1:]
	return r
}

// locked returns whether another transaction than by has the lock.
func (d *disk) locked(key any, by *tx) bool {
	t := d.locks[key]
	return t != nil && t != by
}

func addLocks(a store.Add) []any {
	list := []any{a.Identity}
	for _, k := range a.Keys {
		list = append(list, k)
	}
	return list
}

// Claim passes over what is locked: those are renewed for long enough not to be
// found.
func (p *process) Claim(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	var passed store.Batch
	for key := range p.disk.locks {
		if id, ok := key.(string); ok {
			if d, ok := p.disk.look(id); ok {
				passed.Renews = append(passed.Renews, store.Renew{Delivery: id, Token: d.Token, For: time.Minute})
			}
		}
	}
	if passed.Len() > 0 {
		if _, err := p.disk.kept.Commit(ctx, &passed); err != nil {
			return nil, err
		}
	}
	return p.disk.kept.Claim(ctx, queue, c)
}

// look returns a delivery as it is kept.
func (d *disk) look(id string) (store.Delivery, bool) {
	for _, queue := range []string{"inbox", "clock"} {
		ds, _, err := d.kept.Find(context.Background(), queue, store.Filter{IDs: []string{id}}, "", 1)
		if err == nil && len(ds) == 1 {
			return ds[0], true
		}
	}
	return store.Delivery{}, false
}

func (p *process) Find(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return nil, "", err
	}
	defer leave()
	return p.disk.kept.Find(ctx, queue, f, after, limit)
}

func (p *process) Update(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	return p.disk.kept.Update(ctx, queue, ids, c)
}

func (p *process) Stats(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return nil, "", err
	}
	defer leave()
	return p.disk.kept.Stats(ctx, queue, after, limit)
}

func (p *process) Purge(ctx context.Context, queue string, r store.Retention) (int, error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	return p.disk.kept.Purge(ctx, queue, r)
}

// tx is a transaction: it locks what it writes, tells what that will do, and
// does it with its commit.
type tx struct {
	disk    *disk
	writes  []*store.Batch
	results []*store.Results // told for each, and made true by the commit
	settled map[string]bool  // deliveries, by writes
}

// Transact runs f. Its writes are done at its end, or never.
func (p *process) Transact(ctx context.Context, f func(ctx context.Context, w store.Tx) error) error {
	leave, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	t := &tx{disk: p.disk, settled: map[string]bool{}}
	defer t.unlock()
	if err := f(store.InTx(ctx), t); err != nil {
		return err
	}
	for i, b := range t.writes {
		res, _, err := p.disk.write(ctx, t, b)
		if err != nil {
			return err // it was valid before, and nobody else could change that
		}
		*t.results[i] = *res
	}
	return nil
}

func (t *tx) unlock() {
	t.disk.mu.Lock()
	defer t.disk.mu.Unlock()
	for key, by := range t.disk.locks {
		if by == t {
			delete(t.disk.locks, key)
		}
	}
	close(t.disk.freed)
	t.disk.freed = make(chan struct{})
}

// Write checks b, takes its locks and tells what its settles will do. What became
// of its adds is known with the commit.
func (t *tx) Write(_ context.Context, b *store.Batch) (*store.Results, error) {
	c := *b
	c.Adds = slices.Clone(b.Adds)
	for i := range c.Adds {
		c.Adds[i].To = slices.Clone(c.Adds[i].To)
		for j := range c.Adds[i].To {
			c.Adds[i].To[j].Lease = 0
		}
	}
	scratch := memory.New()                              // refuses what is bad, and has nothing else to say
	res, err := scratch.Commit(context.Background(), &c) // ctx is marked
	if err != nil {
		return nil, err
	}

	t.disk.mu.Lock()
	defer t.disk.mu.Unlock()
	var keys []any
	for _, a := range c.Adds {
		keys = append(keys, addLocks(a)...)
	}
	for _, s := range c.Settles {
		keys = append(keys, s.Delivery)
	}
	for _, r := range c.Renews {
		keys = append(keys, r.Delivery)
	}
	for _, key := range keys {
		if t.disk.locked(key, t) {
			return nil, store.ErrRetry
		}
	}
	for _, key := range keys {
		t.disk.locks[key] = t
	}
	for i, s := range c.Settles {
		d, ok := t.disk.look(s.Delivery)
		switch {
		case !ok || d.Token != s.Token:
			res.Settles[i] = store.LeaseLost
		case d.State != store.Processing || t.settled[s.Delivery]:
			res.Settles[i] = store.AlreadySettled
		default:
			res.Settles[i] = store.Done
			t.settled[s.Delivery] = true
		}
	}
	t.writes, t.results = append(t.writes, &c), append(t.results, res)
	return res, nil
}
