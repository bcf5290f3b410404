package main

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// journal is an append-only file whose concurrent writers share one write and
// one fdatasync. It is the least that a durable answer can cost, and measures
// what the rest costs.
type journal struct {
	f       *os.File
	wake    chan struct{}
	stopped chan struct{}

	mu      sync.Mutex
	pending []byte
	next    *flush // that writes pending
}

// flush is one write; err is set before done is closed.
type flush struct {
	done chan struct{}
	err  error
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{
		f:       f,
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		next:    &flush{done: make(chan struct{})},
	}
	go j.run()
	return j, nil
}

// Append returns once a record of id and body is on the disk.
func (j *journal) Append(id string, body []byte) error {
	j.mu.Lock()
	j.pending = binary.LittleEndian.AppendUint32(j.pending, uint32(len(id)))
	j.pending = binary.LittleEndian.AppendUint32(j.pending, uint32(len(body)))
	j.pending = append(append(j.pending, id...), body...)
	mine := j.next
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	<-mine.done
	return mine.err
}

// run writes what is pending, until Close.
func (j *journal) run() {
	defer close(j.stopped)
	var spare []byte
	for range j.wake {
		// Whoever has just been answered is about to come back: let the next
		// write have them all.
		for range 3 {
			runtime.Gosched()
		}
		j.mu.Lock()
		data, mine := j.pending, j.next
		j.pending, j.next = spare[:0], &flush{done: make(chan struct{})}
		j.mu.Unlock()
		spare = data
		if len(data) > 0 {
			_, mine.err = j.f.Write(data)
			if mine.err == nil {
				mine.err = fdatasync(j.f)
			}
		}
		close(mine.done)
	}
}

// Close must not be called while an Append is under way.
func (j *journal) Close() error {
	close(j.wake)
	<-j.stopped
	return j.f.Close()
}

// syncTime measures what one append with fdatasync costs in dir.
func syncTime(dir string) (_ time.Duration, err error) {
	path := filepath.Join(dir, "sync")
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	var took []time.Duration
	data := make([]byte, bodySize)
	for range 500 {
		start := time.Now()
		if _, err := f.Write(data); err != nil {
			return 0, err
		}
		if err := fdatasync(f); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}
