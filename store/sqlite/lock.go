package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/surehook/webhook/store"
)

// engineLock is the right to run the engine on the file: a lock of the operating
// system on a file beside it, which ends with the process however that ends. The
// database file itself cannot carry it: closing any handle of that ends the locks
// that SQLite has on it.
type engineLock struct {
	path string
	held atomic.Bool

	mu       sync.Mutex
	file     *os.File // locked
	released bool
}

// errLocked says that another handle has the lock.
var errLocked = errors.New("locked")

// take takes the lock and reports whether it was taken now. Another process, or
// another Store in this one, that has it is store.ErrBusy.
func (l *engineLock) take() (first bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.released:
		return false, store.ErrClosed
	case l.file != nil:
		return false, nil
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	if err := lockFile(f); err != nil {
		owner := "another process"
		if pid, readErr := io.ReadAll(io.LimitReader(f, 32)); readErr == nil && len(pid) > 0 {
			owner = "process " + strings.TrimSpace(string(pid))
		}
		_ = f.Close() // nothing was written
		if errors.Is(err, errLocked) {
			return false, fmt.Errorf("%s holds %s and runs the engine: %w", owner, l.path, store.ErrBusy)
		}
		return false, fmt.Errorf("lock %s: %w", l.path, err)
	}
	// For the message above, in another process. The lock does not depend on it.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(fmt.Sprintln(os.Getpid())), 0)
	}
	l.file = f
	return true, nil
}

// release gives the lock back. The file stays: whoever deleted it could take the
// ground from under another's lock.
func (l *engineLock) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
	l.held.Store(false)
	if l.file == nil {
		return nil
	}
	err := l.file.Close() // unlocks
	l.file = nil
	return err
}

// runEngine makes this store the engine's. The leases that an earlier engine left
// are void then, since it is gone: they are due at once, and whoever takes one
// over records the lost attempt.
func (s *Store) runEngine(ctx context.Context) error {
	if s.engine.held.Load() {
		return nil
	}
	if _, err := s.engine.take(); err != nil {
		return err
	}
	if err := s.writer.lock(ctx); err != nil {
		return err
	}
	defer s.writer.unlock()
	return s.voidLeases(ctx)
}

// tryEngine is runEngine for one who does not mind if another is it. The caller has
// not the writer's turn.
func (s *Store) tryEngine() (bool, error) {
	err := s.runEngine(context.Background())
	if errors.Is(err, store.ErrBusy) {
		return false, nil
	}
	return err == nil, err
}

const (
	selectBusyLanes = `
SELECT l.id FROM webhook_lane l JOIN webhook_destination d ON d.id = l.destination WHERE d.processing > 0`

	// By webhook_delivery_ready, between now and the end of the last lease: not
	// past what is due later. A key that is held stays so.
	voidLane = `
UPDATE webhook_delivery SET until = ?, ready = max(?, coalesce(
    (SELECT max(h.until) FROM webhook_hold h WHERE h.destination = webhook_delivery.destination AND h.key = webhook_delivery.order_key), 0))
WHERE lane = ? AND ready > ? AND ready <= ? AND state = 'processing'`
)

// voidLeases ends the leases that others gave, once after the lock was taken. The
// caller has the writer's turn.
func (s *Store) voidLeases(ctx context.Context) error {
	if s.engine.held.Load() {
		return nil
	}
	err := s.writer.write(ctx, func(db session) error {
		w := s.newWork(db)
		lanes, err := integers(db, selectBusyLanes)
		if err != nil || len(lanes) == 0 {
			return err
		}
		seq, err := w.next()
		if err != nil {
			return err
		}
		for _, id := range lanes {
			n, err := db.exec(voidLane, w.now, w.now, id, w.now, seq.leased)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			l, err := w.laneOf(id)
			if err != nil {
				return err
			}
			w.expires(l, w.now)
		}
		seq.leased = w.now
		return w.flush()
	})
	if err == nil {
		s.engine.held.Store(true)
	}
	return err
}
