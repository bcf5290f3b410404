package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/surehook/webhook"
)

// queue hands events to workers of this process. It has a place for each job that may
// wait, and no more: who finds none is told to come again, so that a burst is spread
// by its sender and not kept in memory.
type queue struct {
	jobs    chan job
	workers sync.WaitGroup
}

// job is the events of one request, whose sender waits.
type job struct {
	ctx    context.Context // the request's
	events []webhook.Event
	done   chan error // has room for the one answer
}

var errFull = errors.New("all places are taken")

// startQueue starts n workers, which do work until the queue is closed. Beside the
// jobs that they have in hand as many as places may wait.
func startQueue(n, places int, work func(context.Context, webhook.Event) error) *queue {
	q := &queue{jobs: make(chan job, places)}
	for range n {
		q.workers.Go(func() {
			for j := range q.jobs {
				j.done <- j.do(work)
			}
		})
	}
	return q
}

// do works through the events. Nobody waits for those of a sender that has gone: they
// come again.
func (j job) do(work func(context.Context, webhook.Event) error) error {
	for _, e := range j.events {
		if err := j.ctx.Err(); err != nil {
			return err
		}
		if err := work(j.ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// publish is what Forward calls: it returns nil when a worker is done with all of
// events. One that returned when they are in the channel would lose them with the
// process, after they were acknowledged.
func (q *queue) publish(ctx context.Context, events []webhook.Event) error {
	j := job{ctx: ctx, events: events, done: make(chan error, 1)}
	select {
	case q.jobs <- j:
	default:
		return webhook.RetryAfter(2*time.Second, errFull)
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close waits for the workers. Nobody may publish any more.
func (q *queue) close() {
	close(q.jobs)
	q.workers.Wait()
}
