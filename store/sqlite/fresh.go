package sqlite

import (
	"bytes"
	"database/sql/driver"
	"slices"
	"sync"

	"github.com/surehook/webhook/store"
)

const (
	selectFresh = `
SELECT id, keys FROM webhook_event WHERE id >= ? AND id < ?
UNION ALL
SELECT id, keys FROM webhook_past WHERE id >= ? AND id < ?
ORDER BY id`

	selectKnown = `SELECT key, event FROM webhook_known WHERE key = ?`
	// The same for lookUpBatch keys at once.
	selectKnowns = `SELECT key, event FROM webhook_known WHERE key IN (?, ?, ?, ?, ?, ?, ?, ?)`

	// It may be there: of a run that was cut off by a crash.
	insertKnown = `INSERT INTO webhook_known (key, event) VALUES (?, ?) ON CONFLICT DO NOTHING`
	// The same for runBatch keys at once.
	insertKnowns = `
INSERT INTO webhook_known (key, event)
VALUES (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?),
       (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?) ON CONFLICT DO NOTHING`
)

const (
	// freshMax is how many keys are fresh until they are put into webhook_known:
	// about 4 MiB of memory, and a tenth of a second to read at the first add.
	freshMax = 1 << 15
	// runSpeed is how many of a run are put there beside each new key. More than
	// one, so that the run ends before as many new ones have come.
	runSpeed = 2
	runBatch = 16
	// behindKeys is how many new keys a commit counts for at least while far more
	// are fresh than begin a run.
	behindKeys = 128

	lookUpBatch = 8
)

// key is the digest of an event's identity or of a replay key.
type key = [32]byte

// ownedKey is a key and the event that has it.
type ownedKey struct {
	key   key
	event int64
}

// freshKeys are the keys of the newest events, those after webhook_file.indexed, for
// which webhook_event is the only place on disk.
//
// Keys are digests: put into webhook_known as they come, each would dirty a page of
// its own, and those were more than half of the pages that a commit of adds wrote.
// So they are kept here until there are many, and then put there in their order, a
// run of neighbours at a time, several to a page.
//
// What is here is a copy of committed rows, and never more: a key that was rolled
// back would make a duplicate of an event that nobody has.
type freshKeys struct {
	max     int // begins a run
	mu      sync.Mutex
	owner   map[key]int64
	order   []ownedKey // by event
	indexed int64      // events up to here are not here
	next    int64      // nor are those from here on

	// A run is all that was fresh when it began.
	run  []ownedKey // by key; what is left of it
	upTo int64      // its last event
}

// find returns the event after indexed that has k, 0 if none has.
func (f *freshKeys) find(k *key, indexed int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if event := f.owner[*k]; event > indexed {
		return event
	}
	return 0
}

// catchUp brings f to the state that others committed, as reader sees it, and
// returns the next event; seq is that of the transaction that asks.
func (f *freshKeys) catchUp(reader session, seq *sequence) (next int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(seq.indexed)
	if f.next >= seq.event {
		return f.next, nil
	}
	var committed sequence
	if err := committed.load(reader); err != nil {
		return 0, err
	}
	fresh, err := readFresh(reader, max(f.next, committed.indexed+1), committed.event)
	if err != nil {
		return 0, err
	}
	f.take(fresh)
	f.next = max(f.next, committed.event)
	return f.next, nil
}

// put adds the keys of the events from the one called from up to next, which were
// committed, unless they are here or others before them are not.
func (f *freshKeys) put(added []ownedKey, from, next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == from {
		f.take(added)
		f.next = next
	}
}

func (f *freshKeys) take(keys []ownedKey) {
	if f.owner == nil {
		f.owner = make(map[key]int64, len(keys))
	}
	for _, k := range keys {
		f.owner[k.key] = k.event
	}
	f.order = append(f.order, keys...)
}

// forget drops the events up to indexed, which are in webhook_known.
func (f *freshKeys) forget(indexed int64) {
	if indexed <= f.indexed {
		return
	}
	f.indexed = indexed
	n := 0
	for n < len(f.order) && f.order[n].event <= indexed {
		if k := f.order[n].key; f.owner[k] <= indexed {
			delete(f.owner, k)
		}
		n++
	}
	// A copy, so that the memory of what goes is given back.
	f.order = slices.Clone(f.order[n:])
	// Were it gone on with, keys that were deleted since would come back.
	f.run = nil
}

// behind reports whether far more keys are fresh than there are where all adds take
// part in the runs: those of callers' transactions do not.
func (f *freshKeys) behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.order) > 2*f.max
}

// nextOfRun returns up to n keys to put into webhook_known next and, if they are
// the last of the run, the event up to which all are there then.
func (f *freshKeys) nextOfRun(n int) (keys []ownedKey, upTo int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.run) == 0 {
		if len(f.order) < f.max {
			return nil, 0
		}
		f.run = slices.Clone(f.order)
		slices.SortFunc(f.run, func(a, b ownedKey) int { return bytes.Compare(a.key[:], b.key[:]) })
		f.upTo = f.next - 1
	}
	if n < len(f.run) {
		return f.run[:n], 0
	}
	return f.run, f.upTo
}

// didOfRun notes that the first n keys of the run are in webhook_known.
func (f *freshKeys) didOfRun(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run = f.run[min(n, len(f.run)):]
}

// readFresh reads the keys of the events between from and before, by event.
func readFresh(db session, from, before int64) (keys []ownedKey, err error) {
	if from >= before {
		return nil, nil
	}
	err = db.query(selectFresh, func(v []driver.Value) error {
		var event int64
		var joined []byte
		err := scan(v, &event, &joined)
		for ; len(joined) >= len(key{}); joined = joined[len(key{}):] {
			keys = append(keys, ownedKey{key(joined), event})
		}
		return err
	}, from, before, from, before)
	return keys, err
}

// catchUp makes w know the keys of all events that there are.
func (w *work) catchUp() error {
	if w.caughtUp {
		return nil
	}
	seq, err := w.next()
	if err != nil {
		return err
	}
	next, err := w.s.fresh.catchUp(plain{background, w.s.read}, seq)
	if err != nil {
		return err
	}
	// What a caller's transaction added before is not committed, and only it
	// knows of it.
	own, err := readFresh(w.db, next, seq.event)
	if err != nil {
		return err
	}
	for _, k := range own {
		w.owner[k.key] = k.event
	}
	w.first, w.caughtUp = seq.event, true
	return nil
}

// lookUp finds out which events have the keys of the adds in batches: one statement
// for several keys costs little more than for one.
func (w *work) lookUp(batches []*store.Batch) error {
	n := countKeys(batches)
	if n == 0 {
		return nil
	}
	if err := w.catchUp(); err != nil {
		return err
	}
	unknown := make([]any, 0, n)
	for _, b := range batches {
		for i := range b.Adds {
			a := &b.Adds[i]
			unknown = w.recall(unknown, &a.Identity)
			for j := range a.Keys {
				unknown = w.recall(unknown, &a.Keys[j])
			}
		}
	}
	for len(unknown) > 0 {
		query, n := selectKnown, 1
		if len(unknown) >= lookUpBatch {
			query, n = selectKnowns, lookUpBatch
		}
		err := w.db.query(query, func(v []driver.Value) error {
			var k []byte
			var event int64
			err := scan(v, &k, &event)
			w.owner[key(k)] = event
			return err
		}, unknown[:n]...)
		if err != nil {
			return err
		}
		unknown = unknown[n:]
	}
	return nil
}

// recall notes which event has k, if memory tells, or adds it to unknown.
func (w *work) recall(unknown []any, k *key) []any {
	if _, ok := w.owner[*k]; ok {
		return unknown
	}
	event := w.s.fresh.find(k, w.seq.indexed)
	w.owner[*k] = event
	if event == 0 {
		unknown = append(unknown, k[:])
	}
	return unknown
}

// own notes that event has k.
func (w *work) own(k *key, event int64) {
	w.owner[*k] = event
	w.added = append(w.added, ownedKey{*k, event})
}

func countKeys(batches []*store.Batch) (n int) {
	for _, b := range batches {
		for i := range b.Adds {
			n += 1 + len(b.Adds[i].Keys)
		}
	}
	return n
}

// index puts a few fresh keys into webhook_known, if there are many and batches
// bring more, or if there are far too many.
func (w *work) index(batches []*store.Batch) error {
	n := countKeys(batches)
	if w.s.fresh.behind() {
		n = max(n, behindKeys)
	}
	if n == 0 {
		return nil
	}
	if err := w.catchUp(); err != nil {
		return err
	}
	run, upTo := w.s.fresh.nextOfRun(runSpeed * n)
	if upTo > w.seq.indexed {
		w.seq.indexed, w.seq.changed = upTo, true
	}
	w.indexed = len(run)
	return w.insertKnown(run)
}

// learned keeps what w found out, after its commit. It is for transactions that are
// ours alone: in a caller's, what was written may have been rolled back to a
// savepoint, and the next add reads what there is.
func (w *work) learned() {
	if len(w.added) > 0 {
		w.s.fresh.put(w.added, w.first, w.behind)
	}
	w.s.fresh.didOfRun(w.indexed)
}

// indexBehind is for who has committed a transaction of a caller's with that many new
// keys, which can take no part in a run: it may be rolled back to a savepoint. Empty
// batches do, where there is need. What fails here the next does.
func (s *Store) indexBehind(keys int) {
	for ; keys > 0 && s.fresh.behind(); keys -= behindKeys {
		if _, err := s.group.Do(background, &store.Batch{}); err != nil {
			return
		}
	}
}

// indexTo puts all fresh keys up to event's into webhook_known.
func (w *work) indexTo(event int64) error {
	seq, err := w.next()
	if err != nil || event <= seq.indexed {
		return err
	}
	keys, err := readFresh(w.db, seq.indexed+1, event+1)
	if err != nil {
		return err
	}
	seq.indexed = event
	return w.insertKnown(keys)
}

func (w *work) insertKnown(keys []ownedKey) error {
	args := make([]any, 0, 2*runBatch)
	for len(keys) > 0 {
		query, n := insertKnown, 1
		if len(keys) >= runBatch {
			query, n = insertKnowns, runBatch
		}
		args = args[:0]
		for i := range keys[:n] {
			args = append(args, keys[i].key[:], keys[i].event)
		}
		if _, err := w.db.exec(query, args...); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}
