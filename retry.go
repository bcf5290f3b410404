package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// RetryPolicy says when a failed attempt is tried again, and when the budget is
// used up. It is plain data, and a pure function of the attempt; each zero field
// takes the Inbox's default, so that RetryPolicy{Attempts: 3} changes the budget
// alone.
//
// An Inbox tries 8 times: 5 s × 4ⁿ, at most 1 h, with full jitter. A Dispatcher
// tries 10 times, after 5 s, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours, one
// after another, each ± 20 %.
type RetryPolicy struct {
	Attempts int             // the budget, first attempt included; negative: no end
	Delays   []time.Duration // an explicit schedule; the last one repeats
	Base     time.Duration   // where Delays is empty: Base × Factorⁿ, at most Max
	Max      time.Duration
	Factor   float64    // at least 1
	Jitter   [2]float64 // each delay × uniform(Jitter[0], Jitter[1]): {0, 1} full, {.5, 1} equal, {.8, 1.2} ±20 %, {1, 1} none

	// Func replaces Delays, Base, Max, Factor and Jitter: it returns the delay
	// after the attempt-th failure, counted from 1, and false when the budget is
	// used up. Attempts, where it is set, bounds it too.
	Func func(attempt int) (delay time.Duration, ok bool) `json:"-"`
}

// inboundRetry spreads retries of one's own handlers: quick at first, since most
// failures are short, then hourly. Full jitter parts those that failed together:
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
var inboundRetry = RetryPolicy{Attempts: 8, Base: 5 * time.Second, Factor: 4, Max: time.Hour, Jitter: [2]float64{0, 1}}

// outboundRetry is the schedule that Standard Webhooks recommends, three days long:
// a receiver may be down over a weekend.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
var outboundRetry = RetryPolicy{
	Attempts: 10,
	Delays: []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	},
	Base: 5 * time.Second, Factor: 4, Max: 24 * time.Hour, Jitter: [2]float64{.8, 1.2},
}

// Next returns the delay after the attempt-th failure, counted from 1, and false
// when the budget is used up. u, uniform in [0, 1), decides the jitter. Fields
// that are zero count as an Inbox's default.
func (p RetryPolicy) Next(attempt int, u float64) (time.Duration, bool) {
	p = p.or(inboundRetry)
	if p.Attempts > 0 && attempt >= p.Attempts {
		return 0, false
	}
	if p.Func != nil {
		return p.Func(attempt)
	}
	var d float64
	if n := len(p.Delays); n > 0 {
		d = float64(p.Delays[min(max(attempt, 1), n)-1])
	} else {
		// The power may be infinite; the minimum of that and Max is not.
		d = min(float64(p.Base)*math.Pow(p.Factor, float64(max(attempt, 1)-1)), float64(p.Max))
	}
	d *= p.Jitter[0] + u*(p.Jitter[1]-p.Jitter[0])
	if d >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(d), true
}

// or returns p with the zero fields taken from def: def's schedule, its Func or its
// Delays, where p says nothing of when. A budget is no schedule: p's Attempts bounds
// def's Func.
func (p RetryPolicy) or(def RetryPolicy) RetryPolicy {
	if p.Func != nil {
		return p
	}
	if len(p.Delays) == 0 && p.Base == 0 && p.Max == 0 && p.Factor == 0 {
		p.Delays = def.Delays
		if def.Func != nil && p.Jitter == [2]float64{} {
			p.Func = def.Func
			p.Attempts = cmp.Or(p.Attempts, def.Attempts)
			return p
		}
	}
	if p.Attempts == 0 {
		p.Attempts = def.Attempts
	}
	if p.Base == 0 {
		p.Base = def.Base
		if p.Max > 0 {
			p.Base = min(p.Base, p.Max)
		}
	}
	if p.Max == 0 {
		p.Max = max(def.Max, p.Base)
	}
	if p.Factor == 0 {
		p.Factor = def.Factor
	}
	if p.Jitter == [2]float64{} {
		p.Jitter = def.Jitter
	}
	return p
}

// validate returns an error that names the field which makes no sense.
func (p RetryPolicy) validate() error {
	switch {
	case p.Base < 0 || p.Max < 0:
		return fmt.Errorf("field Base %s or Max %s is negative", p.Base, p.Max)
	case p.Base > 0 && p.Max > 0 && p.Max < p.Base:
		return fmt.Errorf("field Max %s is below Base %s", p.Max, p.Base)
	case p.Factor != 0 && (p.Factor < 1 || math.IsNaN(p.Factor) || math.IsInf(p.Factor, 0)):
		return fmt.Errorf("field Factor %v must be a number of at least 1", p.Factor)
	case p.Jitter[0] < 0 || p.Jitter[1] < p.Jitter[0] || p.Jitter[1] > 10 || math.IsNaN(p.Jitter[0]+p.Jitter[1]):
		return fmt.Errorf("field Jitter %v must be an interval within 0 and 10", p.Jitter)
	}
	for _, d := range p.Delays {
		if d < 0 {
			return errors.New("field Delays has a negative one")
		}
	}
	return nil
}

// BackOff makes a policy of any [backoff.BackOff]: the delay after the n-th
// failure is the n-th NextBackOff of one that fresh returns, and backoff.Stop
// ends the budget. fresh is called at each failure, may be called concurrently,
// and must return a new one each time; one whose Stop depends on the time that
// has passed (MaxElapsedTime) never sees it pass. BackOff panics if fresh is nil.
func BackOff(fresh func() backoff.BackOff) RetryPolicy {
	if fresh == nil {
		panic("webhook: BackOff: fresh is nil")
	}
	return RetryPolicy{Func: func(attempt int) (time.Duration, bool) {
		b := fresh()
		var d time.Duration
		for range attempt {
			if d = b.NextBackOff(); d == backoff.Stop {
				return 0, false
			}
		}
		return d, true
	}}
}
