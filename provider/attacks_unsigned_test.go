package provider_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// unsigned are the headers that somebody who holds a request may change, and
// nobody notices; for readers they stand in docs/security.md.
var unsigned = map[string][]string{
	"standard_webhooks": {},
	"svix":              {},
	"stripe":            {},
	"github":            {"X-Github-Delivery", "X-Github-Event", "X-Github-Hook-Id"},
	"slack":             {"X-Slack-Retry-Num", "X-Slack-Retry-Reason"},
	"shopify":           {"X-Shopify-Webhook-Id", "X-Shopify-Topic", "X-Shopify-Triggered-At", "X-Shopify-Shop-Domain", "X-Shopify-Event-Id"},
}

// What a signature does not cover is let through changed, and said to be unproven;
// all else of a request is covered.
func TestPresets_WhatIsNotSigned(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		open, known := unsigned[s.preset]
		require.True(t, known, "say what its signature does not cover")
		open = append(slices.Clone(open), "User-Agent", "Content-Type", "X-Forwarded-For")
		v := s.verifier(t, s.secrets[0])

		r := s.genuine()
		r.URL = &url.URL{Path: "/another/tenant", RawQuery: "id=evt_2"}
		for _, name := range open {
			r.Header.Set(name, "changed")
		}
		e := accepted(t, v, r)
		require.Equal(t, slices.Contains(open, s.idHeader), e.ID == "changed")
		require.Equal(t, slices.Contains(open, s.typeHeader), e.Type == "changed")
		require.Equal(t, e.ID != "changed", e.Proof.ID)
		require.Equal(t, e.Type != "changed", e.Proof.Type)

		for name, values := range s.genuine().Header {
			if slices.Contains(open, name) {
				continue
			}
			r := s.genuine()
			last := len(values[0]) - 1
			r.Header.Set(name, values[0][:last]+string(values[0][last]^1))
			_, err := v.Verify(t.Context(), r)
			require.ErrorIs(t, err, webhook.ErrSignature, name)
		}
	})
}

// Where no time is signed, a captured request is as good as new once its keys are
// forgotten: for how long they are kept is all that stands against it.
func TestPresets_ReplayOnceForgotten(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		name   string
		keys   time.Duration // Retention.Keys
		later  time.Duration
		events int
	}{
		{"within the week", 0, 7*24*time.Hour - 3*time.Hour, 0},
		{"later", 0, 30 * 24 * time.Hour, 1},
		{"later, where they are kept for a year", year, year - 3*time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, func(s sender) bool { return !s.timed }, func(t *testing.T, s sender) {
				synctest.Test(t, func(t *testing.T) {
					rc := newReceiverWith(t, webhook.QueueConfig{Poll: time.Minute, Retention: store.Retention{Keys: test.keys, Processed: time.Hour}})
					v := s.verifier(t, s.secrets[0])
					require.Equal(t, http.StatusOK, rc.send(s.preset, v, s.at(time.Now(), 0, "evt_1", "evt_1")))
					time.Sleep(test.later)
					end := rc.run()
					time.Sleep(2 * time.Hour)
					synctest.Wait()
					require.Empty(t, rc.stored(), "the payload is gone, the keys may not be")
					end()
					require.Equal(t, http.StatusOK, rc.send(s.preset, v, s.at(time.Now(), 0, "evt_1", "evt_1")))
					require.Len(t, rc.stored(), test.events)
				})
			})
		})
	}
}
