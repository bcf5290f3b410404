package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// none is no jitter.
var none = [2]float64{1, 1}

func TestRetryPolicy_Delays(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	for name, c := range map[string]struct {
		policy webhook.RetryPolicy
		want   []time.Duration // after the first failure, the second, …; then the budget is used up
	}{
		"default":          {webhook.RetryPolicy{Jitter: none}, []time.Duration{5 * s, 20 * s, 80 * s, 320 * s, 1280 * s, h, h}},
		"budget alone":     {webhook.RetryPolicy{Attempts: 3, Jitter: none}, []time.Duration{5 * s, 20 * s}},
		"once":             {webhook.RetryPolicy{Attempts: 1}, nil},
		"base alone":       {webhook.RetryPolicy{Base: s, Attempts: 5, Jitter: none}, []time.Duration{s, 4 * s, 16 * s, 64 * s}},
		"base above max":   {webhook.RetryPolicy{Base: 2 * h, Attempts: 4, Jitter: none}, []time.Duration{2 * h, 2 * h, 2 * h}},
		"max alone":        {webhook.RetryPolicy{Max: m, Attempts: 5, Jitter: none}, []time.Duration{5 * s, 20 * s, m, m}},
		"max below base":   {webhook.RetryPolicy{Max: s, Attempts: 3, Jitter: none}, []time.Duration{s, s}},
		"factor alone":     {webhook.RetryPolicy{Factor: 2, Attempts: 5, Jitter: none}, []time.Duration{5 * s, 10 * s, 20 * s, 40 * s}},
		"constant":         {webhook.RetryPolicy{Factor: 1, Attempts: 4, Jitter: none}, []time.Duration{5 * s, 5 * s, 5 * s}},
		"schedule":         {webhook.RetryPolicy{Delays: []time.Duration{s, 0, h}, Attempts: 6, Jitter: none}, []time.Duration{s, 0, h, h, h}},
		"schedule, longer": {webhook.RetryPolicy{Delays: []time.Duration{s, m, h}, Attempts: 3, Jitter: none}, []time.Duration{s, m}},
		"schedule, alone":  {webhook.RetryPolicy{Delays: []time.Duration{m}, Jitter: none}, []time.Duration{m, m, m, m, m, m, m}},
		"func": {webhook.RetryPolicy{
			Attempts: 99, Delays: []time.Duration{h},
			Func: func(n int) (time.Duration, bool) { return time.Duration(n) * s, n < 3 },
		}, []time.Duration{s, 2 * s}},
		"backoff": {webhook.BackOff(func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewConstantBackOff(m), 3)
		}), []time.Duration{m, m, m}},
		"backoff, exponential": {webhook.BackOff(func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewExponentialBackOff(backoff.WithRandomizationFactor(0), backoff.WithInitialInterval(s), backoff.WithMultiplier(3)), 4)
		}), []time.Duration{s, 3 * s, 9 * s, 27 * s}},
		"backoff, none": {webhook.BackOff(func() backoff.BackOff { return &backoff.StopBackOff{} }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // it keeps nothing between calls
				for i, want := range c.want {
					d, ok := c.policy.Next(i+1, rand.Float64())
					require.True(t, ok, "failure %d", i+1)
					require.Equal(t, want, d, "failure %d", i+1)
				}
				d, ok := c.policy.Next(len(c.want)+1, rand.Float64())
				require.False(t, ok, "%s", d)
			}
		})
	}
}

// The spread is that of the interval, whole and no more.
func TestRetryPolicy_Jitter(t *testing.T) {
	for name, c := range map[string]struct {
		jitter   [2]float64
		low, top float64 // of 100 s
	}{
		"full, the default": {[2]float64{}, 0, 1},
		"full":              {[2]float64{0, 1}, 0, 1},
		"equal":             {[2]float64{0.5, 1}, 0.5, 1},
		"20 %":              {[2]float64{0.8, 1.2}, 0.8, 1.2},
		"none":              {[2]float64{1, 1}, 1, 1},
		"double":            {[2]float64{2, 2}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			base := 100 * time.Second
			p := webhook.RetryPolicy{Base: base, Factor: 1, Max: base, Jitter: c.jitter}
			low, top := time.Duration(c.low*float64(base)), time.Duration(c.top*float64(base))
			least, most := time.Duration(math.MaxInt64), time.Duration(0)
			for range 10_000 {
				d, ok := p.Next(1, rand.Float64())
				require.True(t, ok)
				least, most = min(least, d), max(most, d)
			}
			require.GreaterOrEqual(t, least, low)
			require.LessOrEqual(t, most, top)
			require.LessOrEqual(t, least-low, base/50, "the low end is reached")
			require.LessOrEqual(t, top-most, base/50, "the high end is reached")
			d, _ := p.Next(1, 0)
			require.Equal(t, low, d)
		})
	}
}

// Whatever the policy and the attempt: a delay within bounds, which grows without
// jitter, and no overflow.
func TestRetryPolicy_Properties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		p := webhook.RetryPolicy{
			Attempts: -1,
			Base:     time.Duration(1 + r.Int64N(int64(48*time.Hour))),
			Factor:   1 + 10*r.Float64(),
			Jitter:   [2]float64{r.Float64(), 1 + r.Float64()},
		}
		p.Max = p.Base + time.Duration(r.Int64N(int64(10_000*time.Hour)))
		attempt := 1 + r.IntN(10_000)
		u := r.Float64()
		d, ok := p.Next(attempt, u)
		require.True(t, ok, "no end")
		require.GreaterOrEqual(t, d, time.Duration(p.Jitter[0]*float64(p.Base))-1, "%+v", p)
		require.LessOrEqual(t, d, time.Duration(p.Jitter[1]*float64(p.Max))+1, "%+v", p)
		same, _ := p.Next(attempt, u)
		require.Equal(t, d, same, "pure")

		p.Jitter = none
		d, _ = p.Next(attempt, u)
		next, _ := p.Next(attempt+1, u)
		require.GreaterOrEqual(t, next, d, "%+v", p)
		first, _ := p.Next(1, u)
		require.Equal(t, p.Base, first)
	}
}

func TestRetryPolicy_Overflow(t *testing.T) {
	forever := time.Duration(math.MaxInt64)
	p := webhook.RetryPolicy{Attempts: -1, Base: time.Hour, Factor: 1e300, Max: forever, Jitter: [2]float64{10, 10}}
	for _, attempt := range []int{2, 3, 10_000, math.MaxInt32} {
		d, ok := p.Next(attempt, 0.999)
		require.True(t, ok)
		require.Equal(t, forever, d, "attempt %d", attempt)
	}
	// Counted from 1; what is below counts as the first.
	for _, attempt := range []int{0, -1, math.MinInt32} {
		d, ok := webhook.RetryPolicy{Jitter: none}.Next(attempt, 0)
		require.True(t, ok)
		require.Equal(t, 5*time.Second, d)
		d, _ = webhook.RetryPolicy{Delays: []time.Duration{time.Minute, time.Hour}, Jitter: none}.Next(attempt, 0)
		require.Equal(t, time.Minute, d)
	}
}

func TestRetryPolicy_IsPlainData(t *testing.T) {
	p := webhook.RetryPolicy{Attempts: 3, Delays: []time.Duration{1, 2}, Base: 4, Max: 5, Factor: 6, Jitter: [2]float64{0.5, 1}}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	var back webhook.RetryPolicy
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, p, back)
	p.Func = func(int) (time.Duration, bool) { return 0, false }
	_, err = json.Marshal(p)
	require.NoError(t, err)
}

func TestRetryPolicy_NamesTheFieldThatMakesNoSense(t *testing.T) {
	for field, p := range map[string]webhook.RetryPolicy{
		"Base":     {Base: -1},
		"Max":      {Max: -1},
		"Max 1ns":  {Base: 2, Max: 1},
		"Factor":   {Factor: 0.99},
		"Factor -": {Factor: -2},
		"Factor N": {Factor: math.NaN()},
		"Factor +": {Factor: math.Inf(1)},
		"Jitter":   {Jitter: [2]float64{-0.1, 1}},
		"Jitter [": {Jitter: [2]float64{1, 0.5}},
		"Jitter  ": {Jitter: [2]float64{0, 11}},
		"Jitter N": {Jitter: [2]float64{math.NaN(), 1}},
		"Delays":   {Delays: []time.Duration{time.Second, -1}},
	} {
		t.Run(field, func(t *testing.T) {
			_, err := webhook.NewInbox(&faultyStore{}, webhook.InboxConfig{Queue: webhook.QueueConfig{Retry: p}})
			var name string
			_, scanErr := fmt.Sscan(field, &name)
			require.NoError(t, scanErr)
			require.ErrorContains(t, err, "webhook: queue configuration: Retry: field ")
			require.ErrorContains(t, err, name)
		})
	}
}

// A handler's policy stands on the queue's: a budget alone keeps the queue's Func, and
// bounds it; whatever says when replaces it.
func TestRetryPolicy_OverTheQueuesBackOff(t *testing.T) {
	queue := webhook.BackOff(func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Minute), 5)
	})
	for name, c := range map[string]struct {
		p    webhook.RetryPolicy
		want []time.Duration
	}{
		"nothing":            {webhook.RetryPolicy{}, slices.Repeat([]time.Duration{time.Minute}, 5)},
		"a smaller budget":   {webhook.RetryPolicy{Attempts: 3}, slices.Repeat([]time.Duration{time.Minute}, 2)},
		"a larger budget":    {webhook.RetryPolicy{Attempts: 30}, slices.Repeat([]time.Duration{time.Minute}, 5)},
		"no end":             {webhook.RetryPolicy{Attempts: -1}, slices.Repeat([]time.Duration{time.Minute}, 5)},
		"a schedule":         {webhook.RetryPolicy{Attempts: 3, Delays: []time.Duration{time.Second}, Jitter: none}, slices.Repeat([]time.Duration{time.Second}, 2)},
		"a base":             {webhook.RetryPolicy{Attempts: 3, Base: time.Hour, Jitter: none}, slices.Repeat([]time.Duration{time.Hour}, 2)},
		"its own Func":       {webhook.RetryPolicy{Func: func(n int) (time.Duration, bool) { return time.Hour, n < 3 }}, slices.Repeat([]time.Duration{time.Hour}, 2)},
		"its Func, bounded":  {webhook.RetryPolicy{Attempts: 2, Func: func(int) (time.Duration, bool) { return time.Hour, true }}, []time.Duration{time.Hour}},
		"jitter of the rest": {webhook.RetryPolicy{Attempts: 3, Jitter: none}, []time.Duration{5 * time.Second, 20 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Retry: queue})
				h := clocked{script: []error{errors.New("down")}}
				r.inbox.HandleWith("billing", h.handle, webhook.HandlerConfig{Retry: c.p})
				r.run()
				r.add(event("1", "billing"))
				pass(24 * time.Hour)
				var delays []time.Duration
				at := h.times()
				for i := range at[1:] {
					delays = append(delays, at[i+1]-at[i])
				}
				require.Equal(t, c.want, delays)
				require.Equal(t, store.Dead, r.only().State)
			})
		})
	}
}

func TestBackOff_AsksAFreshOne(t *testing.T) {
	made := 0
	p := webhook.BackOff(func() backoff.BackOff {
		made++
		return backoff.NewExponentialBackOff(backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
	})
	require.Zero(t, made)
	for range 3 {
		d, ok := p.Next(2, 0)
		require.True(t, ok)
		require.Equal(t, 750*time.Millisecond, d)
	}
	require.Equal(t, 3, made)
	require.PanicsWithValue(t, "webhook: BackOff: fresh is nil", func() { webhook.BackOff(nil) })
}

// Steering errors are errors like others: they are seen through, and say what the
// cause says.
func TestSteering_Errors(t *testing.T) {
	cause := errors.New("no such customer")
	for _, err := range []error{
		webhook.Permanent(cause), webhook.RetryAfter(time.Minute, cause),
		fmt.Errorf("%w", webhook.Permanent(cause)),
	} {
		require.ErrorIs(t, err, cause)
		require.EqualError(t, err, "no such customer")
	}
	require.NoError(t, webhook.Permanent(nil))
	require.EqualError(t, webhook.RetryAfter(time.Minute, nil), "webhook: try again after 1m0s")
	require.EqualError(t, webhook.Discard("test mode"), "test mode")
}
