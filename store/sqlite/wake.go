package sqlite

import (
	"context"
	"sync"
	"time"
)

// pollEvery is how often commits of other processes are looked for: PRAGMA
// data_version reads shared memory, and costs microseconds.
const pollEvery = 50 * time.Millisecond

// wakes are the channels of Wake, and the poll for what others commit. The poll
// runs from the first Wake or Claim until Close.
type wakes struct {
	store *Store

	mu       sync.Mutex
	channels map[string]chan struct{}
	cancel   context.CancelFunc // nil: the poll does not run
	stopped  bool
	done     sync.WaitGroup
}

// Wake returns the queue's channel.
func (s *Store) Wake(queue string) <-chan struct{} {
	s.wake.start()
	return s.wake.channel(queue)
}

func (w *wakes) channel(queue string) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.channels[queue]
	if c == nil {
		if w.channels == nil {
			w.channels = map[string]chan struct{}{}
		}
		c = make(chan struct{}, 1)
		w.channels[queue] = c
	}
	return c
}

// signal leaves a hint, if none is there yet.
func (w *wakes) signal(queue string) {
	select {
	case w.channel(queue) <- struct{}{}:
	default:
	}
}

// start lets the poll run.
func (w *wakes) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil || w.stopped {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.done.Go(func() { w.poll(ctx) })
}

// stop ends the poll and waits for it.
func (w *wakes) stop() {
	w.mu.Lock()
	w.stopped = true
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.done.Wait()
}

const (
	dataVersion = `PRAGMA data_version`

	// By webhook_lane_next. A second ahead, since an engine looks by itself each
	// second, and not sooner.
	selectDueQueues = `
SELECT q.name FROM webhook_queue q
WHERE EXISTS (SELECT 1 FROM webhook_lane l WHERE l.queue = q.id AND l.next <= ?)`
)

// poll watches the file's version and wakes the queues that have something due
// after it changed: by others or by us, which cannot be told apart. It keeps one
// connection, since the version is told relative to what that one saw last; after
// an error it makes another.
func (w *wakes) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		_ = w.watch(ctx, tick.C) // the next connection tells what is wrong, or works
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (w *wakes) watch(ctx context.Context, tick <-chan time.Time) error {
	conn, err := w.store.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// A context that can end costs a goroutine a statement; these are short.
	db := plain{context.WithoutCancel(ctx), conn}
	var version int64
	if _, err := one(db, dataVersion, nil, &version); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
		last := version
		if _, err := one(db, dataVersion, nil, &version); err != nil {
			return err
		}
		if version == last {
			continue
		}
		due, err := texts(db, selectDueQueues, w.store.now()+time.Second.Microseconds())
		if err != nil {
			return err
		}
		for _, queue := range due {
			w.signal(queue)
		}
	}
}
