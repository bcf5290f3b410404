package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/internal/engine"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// Bounds of what one delivery may cost.
const (
	maxLost     = 5  // attempts whose worker vanished, until it is dead: it may be what kills the process
	maxDeferred = 10 // deferrals, until a further one counts as a failure
	maxErrText  = 1 << 10
	minDeferral = time.Second
	maxDeferral = 24 * time.Hour
)

var (
	errNotCommitted = errors.New("webhook: the transaction that completes the delivery was not committed")
	errLeft         = errors.New("webhook: the handler left by runtime.Goexit")
	errTimeout      = errors.New("webhook: the handler's timeout is over")
)

// attempt is the context of one try of a delivery, and what the functions know
// that are called with it.
type attempt struct {
	context.Context
	inbox  *Inbox
	handed *handed
	status atomic.Int64 // what HTTPHandler's handler answered; 0: nothing
}

type attemptKey struct{}

func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// attemptFrom returns the attempt whose handler has ctx, nil if it is no handler's.
func attemptFrom(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// attempt makes one try of d: the inbox's half of the engine.
func (i *Inbox) attempt(ctx context.Context, d *store.Delivery, event any, out *engine.Outcome) {
	r := i.handlers[d.Destination] // the claim asked for those that are there
	if lost(d, r.do.SkipDead, out) {
		return
	}
	start := time.Now()
	err := errLeft
	ctx, cancel := engine.Within(ctx, r.do.Timeout)
	defer cancel()
	at := &attempt{Context: ctx, inbox: i}
	// Deferred, since a handler may leave by runtime.Goexit, as a test's does.
	defer func() {
		if err == nil {
			if _, completing := store.Leased(ctx); completing {
				err = errNotCommitted // unless it was: then the store knows, and this settle is void
			}
		}
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = timedOut(err)
		}
		*out = safeOutcome(d, r.do.Retry, err, start)
		out.Unblock = r.do.SkipDead && out.To == store.Dead
		out.Attempt.Status = int(at.status.Load())
	}()
	var known bool
	if at.handed, known = event.(*handed); !known {
		read, rerr := handedOf(d.Record)
		if rerr != nil {
			err = Permanent(rerr)
			return
		}
		at.handed = read
	}
	i.checkOrder(r, d, at.handed.event)
	err = invoke(at, r.h, at.handed.event)
}

// timedOut says of a handler's err that it came of the end of its time, if it did.
func timedOut(err error) (said error) {
	defer func() {
		if recover() != nil { // a method of err's, which safeOutcome meets again
			said = err
		}
	}()
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}

// lost reports whether d is not to be tried any more, since it may be what ends
// the process, and sets out. If unblock is set the next of its ordering key may go.
func lost(d *store.Delivery, unblock bool, out *engine.Outcome) bool {
	if d.Lost < maxLost {
		return false
	}
	*out = engine.Outcome{To: store.Dead, Unblock: unblock, Reason: fmt.Sprintf("lost: %d attempts ended with their process", d.Lost)}
	return true
}

// safeOutcome is outcome where err or policy, which are the program's own, may
// panic: a nil *MyError that is returned as an error does when its text, or what it
// wraps, is asked for. Outside of the handler such a panic would end the process.
func safeOutcome(d *store.Delivery, policy RetryPolicy, err error, start time.Time) engine.Outcome {
	out, p := tryOutcome(d, policy, err, start)
	if p != nil { // instead of err, whose fault it may be
		out, p = tryOutcome(d, policy, p, start)
	}
	if p != nil {
		out = outcome(d, inboundRetry, p, start)
	}
	return out
}

func tryOutcome(d *store.Delivery, policy RetryPolicy, err error, start time.Time) (out engine.Outcome, p *panicError) {
	defer func() {
		if v := recover(); v != nil {
			p = &panicError{what: "error or retry policy of handler", typ: fmt.Sprintf("%T", v), at: panickedAt()}
		}
	}()
	return outcome(d, policy, err, start), nil
}

// outcome says what becomes of d after an attempt that began at start and ended
// with err.
func outcome(d *store.Delivery, policy RetryPolicy, err error, start time.Time) engine.Outcome {
	a := &store.Attempt{Token: d.Token, Start: start, Duration: time.Since(start), Outcome: store.OutcomeProcessed}
	if err == nil {
		return engine.Outcome{To: store.Processed, Attempt: a}
	}
	a.Err, a.Class = bounded(err.Error()), class(err)
	s, steered := steeringOf(err)
	switch {
	case steered && s.kind == discard:
		// Nothing failed: there was nothing to do.
		a.Class = "discarded"
		return engine.Outcome{To: store.Discarded, Reason: a.Err, Attempt: a}
	case steered && s.kind == deferred && d.Deferred < maxDeferred:
		a.Outcome = store.OutcomeDeferred
		return engine.Outcome{To: store.Queued, After: min(max(s.after, minDeferral), maxDeferral), Defer: true, Attempt: a}
	case steered && s.kind == permanent:
		a.Outcome = store.OutcomeFailed
		return engine.Outcome{To: store.Dead, Reason: bounded("permanent: " + a.Err), Spend: true, Attempt: a}
	}
	a.Outcome = store.OutcomeFailed
	after, again := policy.Next(d.Spent+1, rand.Float64())
	if !again {
		return engine.Outcome{To: store.Dead, Reason: bounded(fmt.Sprintf("failed %d times: %s", d.Spent+1, a.Err)), Spend: true, Attempt: a}
	}
	return engine.Outcome{To: store.Queued, After: max(after, 0), Spend: true, Attempt: a}
}

// class names the kind of failure, from a short list.
func class(err error) string {
	var p *panicError
	var classed interface{ class() string }
	switch {
	case errors.As(err, &p):
		return "panic"
	case errors.Is(err, errTimeout):
		return "timeout"
	case errors.Is(err, errLeft):
		return "goexit"
	case errors.Is(err, errNotCommitted):
		return "not_committed"
	case errors.As(err, &classed):
		return classed.class()
	default:
		return "error"
	}
}

// bounded cuts a text that is stored with an attempt.
func bounded(s string) string {
	if len(s) > maxErrText {
		s = s[:maxErrText] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// invoke runs h, and makes an error of a panic.
func invoke(ctx context.Context, h Handler, e Event) error {
	return recovered("handler", func() error { return h(ctx, e) })
}

// recovered runs f, which is the program's and called what, and makes an error of
// a panic.
func recovered(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{what: what, typ: typeOf(v), at: panickedAt()}
		}
	}()
	return f()
}

// typeOf tells of a panic's value its type, and of one that net/http knows its name.
func typeOf(v any) string {
	if v == any(http.ErrAbortHandler) {
		return "http.ErrAbortHandler"
	}
	return fmt.Sprintf("%T", v)
}

// panicError is a handler's panic: its type and where it arose. Its value may
// hold a payload and is not kept.
type panicError struct{ what, typ, at string }

func (p *panicError) Error() string {
	return fmt.Sprintf("webhook: %s panics with %s at %s", p.what, observe.Clean(p.typ), p.at)
}

// panickedAt returns the function, file and line whose panic is being recovered.
func panickedAt() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	panicking := false
	for {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if panicking && !inRuntime {
			return fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line)
		}
		panicking = panicking || strings.HasPrefix(f.Function, "runtime.gopanic")
		if !more {
			return "an unknown place"
		}
	}
}
