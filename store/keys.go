package store

import (
	"context"
	"errors"
	"time"
)

// Keys remembers which keys are known, and which are being worked on: all that
// webhook.Deduplicate needs of a database. It stands beside [Store], and a type may
// be both; one of its own is a table with three columns beside the key, and
// storetest.RunKeys has a test for every clause here. All methods may be called
// concurrently, also by several processes.
//
// A key is a digest of 32 bytes, hence any bytes. It is free; or reserved, by one
// owner and until the end of a lease; or known, until the end of a window. What has
// ended is free again, as if it had never been. An owner is 16 random bytes, new for
// each piece of work.
//
// Lease and window are positive spans, counted from now by the store's own clock: the
// clocks of the processes that share it need not agree. The keys of a call may be
// thousands, in any order; one that is named twice counts once, and none is no error.
// The slices are neither changed nor kept.
//
// After an error other than ErrReserved and ErrLeaseLost nobody knows what was
// written, but no call was done by half. Each may be made again with the same
// arguments: its effect, and its answer, are those of one.
//
// Where the store has transactions, all methods return [ErrInTransaction] for the
// ctx of one that they would wait for.
type Keys interface {
	// Reserve takes those of keys that are not known, all of them or none, for
	// owner and until lease is over. known has an entry for each of keys, in their
	// order: whether it is known. With a nil error the rest is taken, for all
	// processes and as durably as the store keeps anything.
	//
	// ErrReserved: another owner has one of them at the moment. Nothing was taken.
	//
	// Keys that owner itself has are prolonged: they are its own until lease from
	// now is over. So are those that ran out meanwhile, if nobody took them.
	//
	// A Reserve that takes keys also deletes a few that have ended, whoever had
	// them: at least as many as it takes, if there are so many. So what is kept
	// stays within bounds without anybody's care.
	Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) (known []bool, err error)

	// Confirm makes keys known until window is over: those that owner has
	// reserved, and those that are free, since a reservation that ran out and
	// that nobody took did no harm. Those that owner itself confirmed before are
	// known for window from now.
	//
	// ErrLeaseLost: somebody else has at least one of keys by now, reserved or
	// known. It is left as it is; the others are known all the same.
	Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error

	// Release frees those of keys that owner has reserved. Those that are known,
	// free or another's are left as they are: that is no error.
	Release(ctx context.Context, owner [16]byte, keys [][32]byte) error
}

// ErrReserved says that another owner has reserved one of the keys: what they stand
// for is being worked on.
var ErrReserved = errors.New("webhook: key reserved")
