package provider_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

func TestPresets_Timestamp(t *testing.T) {
	ms := strconv.FormatInt(now.UnixMilli(), 10)
	for _, test := range []struct {
		name, timestamp string
		want            error
		says            string
	}{
		{"missing", "", webhook.ErrSignature, "missing"},
		{"no number", "soon", webhook.ErrMalformed, "not decimal seconds"},
		{"negative", "-1700000000", webhook.ErrMalformed, "not decimal seconds"},
		{"with a sign", "+1700000000", webhook.ErrMalformed, "not decimal seconds"},
		{"exponent", "1e9", webhook.ErrMalformed, "not decimal seconds"},
		{"hexadecimal", "0x6553f100", webhook.ErrMalformed, "not decimal seconds"},
		{"leading zero", "01700000000", webhook.ErrMalformed, "not decimal seconds"},
		{"inner space", "1700 000000", webhook.ErrMalformed, "not decimal seconds"},
		{"zero", "0", webhook.ErrMalformed, "not decimal seconds"},
		{"full-width digits", "１７００００００００", webhook.ErrMalformed, "not decimal seconds"},
		{"above int64", "99999999999999999999", webhook.ErrMalformed, "not decimal seconds"},
		{"wraps around int64", "18446744075409551616", webhook.ErrMalformed, "not decimal seconds"},
		{"ten thousand digits", strings.Repeat("1", 10_000), webhook.ErrMalformed, "not decimal seconds"},
		{"largest", "999999999999999999", webhook.ErrStale, "looks like milliseconds"},
		{"milliseconds", ms, webhook.ErrStale, "looks like milliseconds"},
		{"long ago", "1", webhook.ErrStale, "before it arrived"},
		{"a day old", unix(now.Add(-47 * time.Hour)), webhook.ErrStale, "signed 47h0m0s before it arrived"},
		{"two days old", unix(now.Add(-49 * time.Hour)), webhook.ErrStale, "signed 2 days before it arrived"},
		{"years ahead", unix(now.Add(1000 * 24 * time.Hour)), webhook.ErrStale, "signed 1000 days after it arrived"},
		{"six minutes old", unix(now.Add(-6 * time.Minute)), webhook.ErrStale, "6m0s before it arrived"},
		{"six minutes ahead", unix(now.Add(6 * time.Minute)), webhook.ErrStale, "6m0s after it arrived"},
		{"a second too old", unix(now.Add(-301 * time.Second)), webhook.ErrStale, "5m1s before it arrived"},
		{"a second too far ahead", unix(now.Add(301 * time.Second)), webhook.ErrStale, "5m1s after it arrived"},
		{"five minutes old", unix(now.Add(-5 * time.Minute)), nil, ""},
		{"five minutes ahead", unix(now.Add(5 * time.Minute)), nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, sender.isTimed, func(t *testing.T, s sender) {
				v := s.verifier(t, s.secrets[0])
				r := s.request(s.secrets[0], "evt_1", test.timestamp, s.body("evt_1"))
				if test.want == nil {
					accepted(t, v, r)
					return
				}
				require.Contains(t, refused(t, v, r, test.want), test.says)
			})
		})
	}
}

// A time that is not signed together with the body proves nothing.
func TestPresets_TimestampIsSigned(t *testing.T) {
	later := unix(now.Add(time.Minute))
	for _, test := range []struct {
		name string
		spin func(s sender, r *webhook.Request)
	}{
		{"the header changed, not what is signed", func(_ sender, r *webhook.Request) {
			for name := range r.Header {
				r.Header.Set(name, strings.ReplaceAll(r.Header.Get(name), unix(now), later))
			}
		}},
		{"what is signed changed, not the header", func(s sender, r *webhook.Request) {
			s.replace(r, s.version+s.sign(s.secrets[0], "evt_1", later, string(r.Body)))
		}},
		{"cut elsewhere", func(s sender, r *webhook.Request) {
			// The last digit of the time as the first byte of the body: the
			// same text is signed where nothing stands between the two.
			stamp := unix(now)
			body := stamp[len(stamp)-1:] + string(r.Body)
			s.set(r.Header, "evt_1", stamp[:len(stamp)-1], s.version+s.sign(s.secrets[0], "evt_1", stamp, string(r.Body)))
			r.Body, r.Time = []byte(body), now
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, sender.isTimed, func(t *testing.T, s sender) {
				r := s.genuine()
				test.spin(s, r)
				refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature)
			})
		})
	}
}

// The tolerance of a verifier may be changed, and the time of arrival is the
// request's: a stored one can be checked later.
func TestPresets_Tolerance(t *testing.T) {
	each(t, sender.isTimed, func(t *testing.T, s sender) {
		v := s.verifier(t, s.secrets[0])
		old := s.request(s.secrets[0], "evt_1", unix(now.Add(-time.Hour)), s.body("evt_1"))
		refused(t, v, old, webhook.ErrStale)

		stored := *old
		stored.Time = now.Add(-time.Hour)
		accepted(t, v, &stored)

		v.Tolerance = 2 * time.Hour
		accepted(t, v, old)
		v.Tolerance = -1
		old.Time = now.AddDate(1, 0, 0)
		accepted(t, v, old)
		v.Tolerance = time.Second
		refused(t, v, old, webhook.ErrStale)
	})
}

// Where no time is signed, none is believed: a redelivery days later is let
// through, and what a captured request could do is the replay key's to prevent.
func TestPresets_WithoutTimestamp(t *testing.T) {
	each(t, func(s sender) bool { return !s.timed }, func(t *testing.T, s sender) {
		r := s.genuine()
		first := accepted(t, s.verifier(t, s.secrets[0]), r)
		r.Time = now.AddDate(1, 0, 0)
		again := accepted(t, s.verifier(t, s.secrets[0]), r)
		require.Equal(t, first.ID, again.ID)
		require.NotEmpty(t, again.Proof.Keys)
		require.Equal(t, first.Proof.Keys, again.Proof.Keys)
		require.False(t, again.Proof.Time)
	})
}
