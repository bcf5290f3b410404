package sqlite

import (
	"fmt"
	"math"

	"github.com/surehook/webhook/store"
)

// never is later than any instant: of a lane with nothing in it, of a hold that
// lasts until it is released.
const never = math.MaxInt64

// work is what one transaction does. It reads the file's counters, destinations
// and lanes once each, changes them in memory, and writes those that changed back
// at the end: a commit of 64 adds for one destination updates one row of each.
type work struct {
	*rows
	s      *Store
	db     session
	now    int64
	leases bool // may be given: it is not a caller's transaction, and we have the engine

	due   map[string]bool // queues in which something may be due sooner than it was
	given []lease         // without an ordering key
	born  born            // of the event that is being added

	caughtUp bool          // with the keys of all events
	first    int64         // event that it adds, and …
	behind   int64         // … the one behind its last
	owner    map[key]int64 // events by the keys that were looked up; 0: none has it
	added    []ownedKey    // by it
	indexed  int           // keys of a run
}

// newWork returns one that knows nothing of the file yet, and gives no leases.
func (s *Store) newWork(db session) *work {
	return s.workOn(newRows(), db, false)
}

// workOn returns one that knows rows.
func (s *Store) workOn(r *rows, db session, leases bool) *work {
	return &work{
		rows: r, s: s, db: db, now: s.now(), leases: leases,
		due:   map[string]bool{},
		owner: map[key]int64{},
	}
}

// next returns the counters, which the caller is about to change.
func (w *work) next() (*sequence, error) {
	q := &w.seq
	if !q.loaded {
		if err := q.load(w.db); err != nil {
			return nil, err
		}
	}
	q.changed = true
	return q, nil
}

// write does batches, and writes back what changed in memory.
func (w *work) write(batches []*store.Batch) (results []*store.Results, err error) {
	if err := w.lookUp(batches); err != nil {
		return nil, err
	}
	results = make([]*store.Results, len(batches))
	for i, b := range batches {
		if err := w.refuse(b); err != nil {
			return nil, err
		}
		if results[i], err = w.batch(b); err != nil {
			return nil, err
		}
	}
	w.behind = w.seq.event
	return results, w.flush()
}

// batch does the items of b in their order; the keys of its adds were looked up.
func (w *work) batch(b *store.Batch) (*store.Results, error) {
	res := &store.Results{}
	if n := len(b.Adds); n > 0 {
		res.Adds = make([]store.Added, n)
		for i := range b.Adds {
			if err := w.add(&b.Adds[i], &res.Adds[i]); err != nil {
				return nil, fmt.Errorf("add %d: %w", i, err)
			}
		}
	}
	if n := len(b.Settles); n > 0 {
		res.Settles = make([]store.Result, n)
		for i := range b.Settles {
			r, err := w.settle(&b.Settles[i])
			if err != nil {
				return nil, fmt.Errorf("settle delivery %s: %w", b.Settles[i].Delivery, err)
			}
			res.Settles[i] = r
		}
	}
	if n := len(b.Renews); n > 0 {
		res.Renews = make([]store.Result, n)
		for i := range b.Renews {
			r, err := w.renew(&b.Renews[i])
			if err != nil {
				return nil, fmt.Errorf("renew delivery %s: %w", b.Renews[i].Delivery, err)
			}
			res.Renews[i] = r
		}
	}
	if n := len(b.Holds); n > 0 {
		res.Holds = make([]store.Result, n)
		for i := range b.Holds {
			if err := w.hold(&b.Holds[i]); err != nil {
				return nil, fmt.Errorf("hold %d: %w", i, err)
			}
			res.Holds[i] = store.Done
		}
	}
	return res, nil
}

// flush writes back what changed in memory; the work may go on after it.
func (w *work) flush() error { return w.rows.flush(w.db) }

// committed does what is to follow the commit: it remembers the leases, and wakes
// the engines whose queues were touched.
func (w *work) committed() {
	w.s.leases.put(w.given)
	for queue := range w.due {
		w.s.wake.signal(queue)
	}
}
