// Package store is the contract between the engine of package webhook and the
// databases that keep its events. It imports the standard library alone, and
// knows nothing of signatures, handlers or endpoints.
//
// A store keeps queues of deliveries. A [Delivery] is one event on its way to
// one destination; it is added by an [Add], leased to one worker at a time by
// [Store.Claim], and ended by a [Settle] that carries the lease's token. That
// is all: there is one way to write, [Store.Commit], which takes a [Batch] of
// adds, settles, renewals and holds and makes all of it durable or none.
//
// # Writing a store of one's own
//
// Implement [Store] over whatever has transactions, make its Commit of a
// [Group] so that concurrent callers share one write, and hand it to
// storetest.Run (package storetest), which has a test for every clause that
// the doc comments here state. Three rules carry most of the weight:
//
//   - A delivery is fenced by its token alone. The token grows with each
//     claim; a settle or renewal under an older token changes nothing and is
//     told [LeaseLost]. Times are never compared to decide who is right.
//   - Durations travel, instants do not. After, Lease, For and Known are spans
//     that the store adds to its own clock, so that the clocks of the
//     processes that share it need not agree.
//   - An add is known by its nonce. The same Batch may be committed again
//     after an error, since nobody knows whether the first commit came
//     through; the second time it finds its own rows and says [Done], with
//     the same deliveries and the same leases.
//
// Text that came from outside (tenants, sources, ids, types, subjects, ordering
// keys, destinations) is any sequence of bytes, NUL and invalid UTF-8
// included: keep it as bytes, never as text or JSON.
package store

import (
	"context"
	"errors"
)

// Store keeps queues of deliveries. All methods may be called concurrently.
//
// Commit, Claim and Update ask [InTransaction] first and return its error at
// once: they would wait for the very transaction that they were called from.
// After Close every method returns [ErrClosed].
type Store interface {
	// Commit writes a batch: all of it or nothing. A nil error means that it
	// is as durable as Info.Promise says, and Results has one entry for each
	// item, in the order of the batch. After ErrBadData and ErrRetry nothing
	// was written; after any other error nothing is known, and the same Batch
	// may be committed again, since adds carry a nonce and settles a token.
	// The batch is not changed and not kept.
	//
	// Items that concern a delivery which is gone, or a token that is not the
	// last, are no errors: their Result says so. The order in which the items
	// of one batch take effect is adds, settles, renewals, holds, each in the
	// order given.
	//
	// An empty batch is a probe: nil means that the store could have written.
	Commit(ctx context.Context, b *Batch) (*Results, error)

	// Claim leases what is due: the delivery is queued and its time has come,
	// or its last lease has run out; its destination and its ordering key are
	// not held; and if it has an ordering key, it is the key's head: the first of
	// those to be done, though one that is leased stays the head. Each
	// returned delivery has a token one greater than before, State
	// Processing, Until set, FailingSince of its destination, and its Record
	// with head and body.
	//
	// The (destination, tenant) pairs that have something due are served in
	// turn, the least recently served first, and of no destination more is
	// taken than Claim.Free allows; within a pair the longest due goes first.
	// What it costs depends on what it returns, not on how much is held,
	// blocked, or due for destinations that were not asked for.
	//
	// A delivery that is taken over from an expired lease has its lost
	// attempt recorded in the same commit: Lost grows by one, and an Attempt
	// with the old token and Outcome "lost" is kept.
	//
	// ErrBusy: another process runs the engine on this store.
	Claim(ctx context.Context, queue string, c Claim) ([]Delivery, error)

	// Find returns a page of deliveries, oldest first, and the cursor of the
	// next page, "" at the end. Bodies, heads and attempts are filled only if
	// f.IDs is set. It holds nothing between pages: what is added or deleted
	// meanwhile may or may not be seen, what stays is seen exactly once.
	// A limit below 1 means 100.
	Find(ctx context.Context, queue string, f Filter, after string, limit int) (page []Delivery, next string, err error)

	// Update changes those of ids whose state is in c.From, all in one
	// commit, and says how many it were. Unknown ids are passed over. Keep
	// ids below a few hundred a call.
	Update(ctx context.Context, queue string, ids []string, c Change) (n int, err error)

	// Stats returns a page of figures by destination, in the order of their
	// names, and the cursor of the next page, "" at the end. The first row of
	// the first page, with Destination "", is the whole queue; it does not
	// count for limit. The figures may lag behind; reading them never counts
	// rows. A limit below 1 means 100.
	Stats(ctx context.Context, queue, after string, limit int) (page []Stats, next string, err error)

	// Purge deletes one small batch of what is past its retention, and
	// returns how many records it were; 0: nothing is left to delete now. An
	// event goes with the last of its deliveries. Its identity and keys stay
	// known until both Add.Known and Retention.Keys have passed since it was
	// received and the event itself is gone; then they are deleted here.
	Purge(ctx context.Context, queue string, r Retention) (n int, err error)

	// Wake returns the channel, one and the same for all callers, on which
	// the store signals that something in queue may be due sooner than it was: an add, a
	// successor of an ordering key, a redrive, a release. A signal is a hint
	// that may be lost or be about nothing. Nil: the engine polls.
	Wake(queue string) <-chan struct{}

	// Info describes the backend; it is constant.
	Info() Info

	// Close waits for writes under way and releases everything, the right to
	// run the engine included. A second Close does nothing.
	Close() error
}

// Tx is a transaction of the caller's, made by a backend's Transact, Complete or
// Tx method. What is written to it is committed, or rolled back, by the caller.
// A Store is not a Tx. Like the transaction itself it is not for concurrent use.
type Tx interface {
	// Write is Commit's work inside the transaction, and becomes durable with
	// it. Bad data is refused before anything is written, with ErrBadData, so
	// that it never breaks the caller's transaction. Leases are not given:
	// Target.Lease is ignored. It never waits for another's row lock.
	Write(ctx context.Context, b *Batch) (*Results, error)
}

// Owned is what a Tx has beside Write if it can tell whose it is.
type Owned interface {
	// Of reports whether those who use st see what is committed. It is true for a
	// Store that it cannot judge, such as one that wraps another.
	Of(st Store) bool
}

// Info describes a backend.
type Info struct {
	Name    string // such as "sqlite"
	Promise string // what an acknowledged event survives, in words, for the log at start
	Durable bool   // survives the end of the process
}

// Errors that a store returns; test for them with errors.Is.
var (
	// ErrBadData says that an item's data is refused, whenever it is tried: see
	// Batch.Validate. Nothing was written.
	ErrBadData = errors.New("webhook: bad data")
	// ErrChanged says that an Add with RefuseChanged is of an event that is known
	// with another Digest; the text names the add. It is an ErrBadData: nothing of
	// the batch was written, what others commit meanwhile was, and to try again
	// brings the same.
	ErrChanged error = changedError{}
	// ErrRetry says that this moment was the wrong one: a deadlock, a failed
	// serialization, a row that was not to be had within 20 ms. Nothing was
	// written; a Group tries again.
	ErrRetry = errors.New("webhook: try again")
	// ErrLeaseLost says that another worker may have the delivery, or that it
	// is completed: whoever gets it inside a transaction rolls back.
	ErrLeaseLost = errors.New("webhook: lease lost")
	// ErrBusy says that another process runs the engine on this store.
	ErrBusy = errors.New("webhook: store busy")
	// ErrInTransaction says that a method which would wait for the end of a
	// transaction was called with the context of its closure: use the closure's
	// Tx, or call after it.
	ErrInTransaction = errors.New("webhook: inside transaction")
	// ErrNotFound says that there is no such delivery.
	ErrNotFound = errors.New("webhook: not found")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("webhook: store closed")
)

// changedError is ErrChanged: an ErrBadData with words of its own.
type changedError struct{}

func (changedError) Error() string { return "webhook: event known with another body" }

func (changedError) Is(target error) bool { return target == ErrBadData }
