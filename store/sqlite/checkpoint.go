package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
)

// SQLite would move the log into the file inside some caller's commit, which then
// takes ten times as long. Here a reader's connection does the bulk of it beside the
// writer, and the writer the small rest between two commits: only when nothing is
// left does the log start over, and not grow for ever.
const (
	// checkpointAfter is how many pages of the log are worth it, 16 MiB. Pages of
	// the key index are written again and again meanwhile, and moved once.
	checkpointAfter = 4096
	// checkpointRest is what the writer may have left to move: a few milliseconds.
	checkpointRest = 512
	// checkpointRounds is how often the rest is tried to be made so small, beside a
	// writer who goes on.
	checkpointRounds = 4
	// checkpointLook is how many commits go by between two looks at the log.
	checkpointLook = 8
)

// checkpointer moves the log into the file. Its goroutine runs while there is
// something to move.
type checkpointer struct {
	writer *writer
	limit  int64 // pages
	read   *sql.DB

	commits int // since the last look; belongs to the writer's turn
	running atomic.Bool
	mu      sync.Mutex
	ctx     context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// begin makes c ready; before it committed must not be called.
func (c *checkpointer) begin(w *writer, read *sql.DB, limit int64) {
	c.writer, c.read, c.limit = w, read, limit/pageSize
	c.ctx, c.cancel = context.WithCancel(context.Background())
}

const (
	// How much is in the log, and how much of that was moved; nothing is done.
	lookAtLog = `PRAGMA wal_checkpoint(NOOP)`
	// Waits for nobody: readers go on with the log, writers append to it.
	moveLog = `PRAGMA wal_checkpoint(PASSIVE)`
)

// moved runs one of the above and returns how many pages of the log there are, and
// how many are still to be moved.
func moved(db session, query string) (log, rest int64, err error) {
	var busy, done int64
	_, err = one(db, query, nil, &busy, &log, &done)
	return log, max(log-done, 0), err
}

// committed looks at the log now and then, after a commit of whoever has the turn.
// An error is not that commit's: the next look tries again.
func (c *checkpointer) committed(db session) {
	if c.commits++; c.commits < checkpointLook {
		return
	}
	c.commits = 0
	log, rest, err := moved(db, lookAtLog)
	switch {
	case err != nil:
	case log > c.limit && rest > 0:
		_, _, _ = moved(db, moveLog) // whoever commits waits: the log must not grow
	case rest > min(checkpointAfter, c.limit/4):
		c.start()
	}
}

// start lets a goroutine move the log, if none does.
func (c *checkpointer) start() {
	if !c.running.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.done.Go(func() {
		defer c.running.Store(false)
		_ = c.run() // the log stays as it is; the next look tries again
	})
}

// run moves all of the log.
func (c *checkpointer) run() error {
	for range checkpointRounds {
		if _, _, err := moved(plain{c.ctx, c.read}, moveLog); err != nil {
			return err
		}
		_, rest, err := moved(plain{c.ctx, c.read}, lookAtLog)
		if err != nil {
			return err
		}
		if rest < checkpointRest {
			break
		}
	}
	if err := c.writer.lock(c.ctx); err != nil {
		return err
	}
	defer c.writer.unlock()
	return c.writer.raw(c.ctx, func(db session) error {
		_, _, err := moved(db, moveLog)
		return err
	})
}

// stop ends the goroutine and waits for it.
func (c *checkpointer) stop() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.done.Wait()
}

// limitLog makes SQLite leave checkpoints to us, and cut the log back to half its
// limit when it starts over.
func limitLog(ctx context.Context, conn *sql.Conn, limit int64) error {
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = %d", limit/2))
	return err
}
