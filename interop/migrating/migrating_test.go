package migrating_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	playground "github.com/go-playground/webhooks/v6/github"
	"github.com/google/go-github/v89/github"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"
	stripehook "github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/interop/migrating/after"
	"github.com/surehook/webhook/interop/migrating/before"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// effect is what a handler does with what it found in the event.
type effect func(found string) error

// migration is one handler, before and after.
type migration struct {
	name   string
	secret string
	other  string // another endpoint's secret
	preset func(secrets ...string) (webhook.Verifier, error)
	before func(t *testing.T, secret string, do effect) http.Handler
	after  func(t *testing.T, inbox *webhook.Inbox, secret string, do effect) http.Handler
	sign   func(t *testing.T, secret, typ, body string) http.Header

	typ, body, found string // of the event that the handler is about, and what it finds in it
	ignored          string // a type that is not of interest
	broken           string // a body that does not fit the type
}

var migrations = []migration{
	{
		name: "stripe-go", preset: provider.Stripe, secret: "whsec_secret", other: "whsec_another",
		before: func(_ *testing.T, secret string, do effect) http.Handler {
			return before.Stripe(secret, func(_ context.Context, i stripe.Invoice) error { return do(i.ID) })
		},
		after: func(t *testing.T, inbox *webhook.Inbox, secret string, do effect) http.Handler {
			t.Helper()
			h, err := after.Stripe(inbox, secret, func(_ context.Context, i stripe.Invoice) error { return do(i.ID) })
			require.NoError(t, err)
			return h
		},
		sign: func(_ *testing.T, secret, _, body string) http.Header {
			signed := stripehook.GenerateTestSignedPayload(&stripehook.UnsignedPayload{Payload: []byte(body), Secret: secret})
			return http.Header{"Stripe-Signature": {signed.Header}}
		},
		typ: "invoice.paid", ignored: "invoice.created", found: "in_1",
		body:   stripeBody(`{"id":"in_1","object":"invoice"}`),
		broken: stripeBody(`{"id":["in_1"],"object":"invoice"}`),
	},
	{
		name: "go-github", preset: provider.GitHub, secret: "secret", other: "another",
		before: func(_ *testing.T, secret string, do effect) http.Handler {
			return before.GitHub(secret, func(_ context.Context, e *github.PushEvent) error { return do(e.GetRef()) })
		},
		after: func(t *testing.T, inbox *webhook.Inbox, secret string, do effect) http.Handler {
			t.Helper()
			h, err := after.GitHub(inbox, secret, func(_ context.Context, e *github.PushEvent) error { return do(e.GetRef()) })
			require.NoError(t, err)
			return h
		},
		sign: signGitHub,
		typ:  "push", ignored: "ping", found: "refs/heads/main",
		body:   `{"ref":"refs/heads/main","commits":[]}`,
		broken: `{"ref":["refs/heads/main"],"commits":[]}`,
	},
	{
		name: "go-playground/webhooks", preset: provider.GitHub, secret: "secret", other: "another",
		before: func(t *testing.T, secret string, do effect) http.Handler {
			t.Helper()
			h, err := before.Playground(secret, func(_ context.Context, p playground.PushPayload) error { return do(p.Ref) })
			require.NoError(t, err)
			return h
		},
		after: func(t *testing.T, inbox *webhook.Inbox, secret string, do effect) http.Handler {
			t.Helper()
			h, err := after.Playground(inbox, secret, func(_ context.Context, p playground.PushPayload) error { return do(p.Ref) })
			require.NoError(t, err)
			return h
		},
		sign: signGitHub,
		typ:  "push", ignored: "ping", found: "refs/heads/main",
		body:   `{"ref":"refs/heads/main","commits":[]}`,
		broken: `{"ref":["refs/heads/main"],"commits":[]}`,
	},
	{
		name: "svix-webhooks", preset: provider.Svix,
		secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", other: "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		before: func(t *testing.T, secret string, do effect) http.Handler {
			t.Helper()
			h, err := before.Svix(secret, func(_ context.Context, u before.User) error { return do(u.Email) })
			require.NoError(t, err)
			return h
		},
		after: func(t *testing.T, inbox *webhook.Inbox, secret string, do effect) http.Handler {
			t.Helper()
			h, err := after.Svix(inbox, secret, func(_ context.Context, u after.User) error { return do(u.Email) })
			require.NoError(t, err)
			return h
		},
		sign: func(t *testing.T, secret, _, body string) http.Header {
			t.Helper()
			wh, err := svix.NewWebhook(secret)
			require.NoError(t, err)
			signature, err := wh.Sign("msg_1", time.Now(), []byte(body))
			require.NoError(t, err)
			return http.Header{
				"Svix-Id":        {"msg_1"},
				"Svix-Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)},
				"Svix-Signature": {signature},
			}
		},
		typ: "user.created", ignored: "user.updated", found: "ann@example.com",
		body:   `{"type":"user.created","data":{"id":"user_1","email":"ann@example.com"}}`,
		broken: `{"type":"user.created","data":{"id":"user_1","email":["ann@example.com"]}}`,
	},
}

func stripeBody(object string) string {
	return fmt.Sprintf(`{"id":"evt_1","object":"event","api_version":%q,"type":"invoice.paid","data":{"object":%s}}`, stripe.APIVersion, object)
}

func signGitHub(_ *testing.T, secret, typ, body string) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return http.Header{
		"X-Github-Event":      {typ},
		"X-Github-Delivery":   {"72d3162e-cc78-11e3-81ab-4c9367dc0958"},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))},
	}
}

// service has the handler, in one form or the other, and what became of it.
type service struct {
	m       migration
	handler http.Handler
	inbox   *webhook.Inbox // nil before
	found   []string       // by the handler
	fail    int            // so many of its next runs
}

func (s *service) do(found string) error {
	s.found = append(s.found, found)
	if s.fail > 0 {
		s.fail--
		return errors.New("the database is away")
	}
	return nil
}

// send sends a request, and returns the status when all that follows has been done.
func (s *service) send(t *testing.T, secret, typ, body string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks", strings.NewReader(body))
	r.Header = s.m.sign(t, secret, typ, body)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	time.Sleep(time.Hour) // the bubble's: until no retry is due
	synctest.Wait()
	return w.Code
}

// run calls test for each migration, once with the handler as it was and once as
// it is now.
func run(t *testing.T, test func(t *testing.T, old, now *service)) {
	t.Helper()
	for _, m := range migrations {
		t.Run(m.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, now := &service{m: m}, &service{m: m}
				old.handler = m.before(t, m.secret, old.do)

				now.inbox = newInbox(t)
				now.handler = m.after(t, now.inbox, m.secret, now.do)
				whileRunning(t, now.inbox, func() { test(t, old, now) })
			})
		})
	}
}

func newInbox(t *testing.T) *webhook.Inbox {
	t.Helper()
	quiet := webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}
	inbox, err := webhook.NewInbox(memory.New(), webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: quiet}})
	require.NoError(t, err)
	return inbox
}

// whileRunning runs inbox while do runs.
func whileRunning(t *testing.T, inbox *webhook.Inbox, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- webhook.Run(ctx, inbox) }()
	do()
	stop()
	require.NoError(t, <-ended)
}

// count returns how many deliveries are in that state.
func (s *service) count(t *testing.T, state store.State) int {
	t.Helper()
	n, err := s.inbox.Queue().Count(t.Context(), store.Filter{States: []store.State{state}}, 100)
	require.NoError(t, err)
	return n
}

func TestMigrating_SameWork(t *testing.T) {
	run(t, func(t *testing.T, old, now *service) {
		for _, s := range []*service{old, now} {
			require.Equal(t, http.StatusOK, s.send(t, s.m.secret, s.m.typ, s.m.body))
			require.Equal(t, []string{s.m.found}, s.found)

			ignored := strings.Replace(s.m.body, s.m.typ, s.m.ignored, 1)
			require.Equal(t, http.StatusOK, s.send(t, s.m.secret, s.m.ignored, ignored))
			require.Equal(t, []string{s.m.found}, s.found, "another type is not of interest")
		}
		require.Zero(t, now.count(t, store.Dead))
	})
}

func TestMigrating_Forged(t *testing.T) {
	run(t, func(t *testing.T, old, now *service) {
		require.GreaterOrEqual(t, old.send(t, old.m.other, old.m.typ, old.m.body), 400)
		require.Equal(t, http.StatusUnauthorized, now.send(t, now.m.other, now.m.typ, now.m.body))
		require.Empty(t, old.found)
		require.Empty(t, now.found)
	})
}

// The sender retries, or somebody sends what he captured: one effect, not two.
func TestMigrating_Duplicate(t *testing.T) {
	run(t, func(t *testing.T, old, now *service) {
		for range 2 {
			require.Equal(t, http.StatusOK, old.send(t, old.m.secret, old.m.typ, old.m.body))
			require.Equal(t, http.StatusOK, now.send(t, now.m.secret, now.m.typ, now.m.body))
		}
		require.Len(t, old.found, 2)
		require.Len(t, now.found, 1)
	})
}

// The work fails twice: the sender had to come again, and now he need not.
func TestMigrating_WorkFails(t *testing.T) {
	run(t, func(t *testing.T, old, now *service) {
		old.fail, now.fail = 2, 2
		require.Equal(t, http.StatusInternalServerError, old.send(t, old.m.secret, old.m.typ, old.m.body))
		require.Len(t, old.found, 1)
		require.Equal(t, http.StatusOK, now.send(t, now.m.secret, now.m.typ, now.m.body))
		require.Len(t, now.found, 3)
		require.Equal(t, 1, now.count(t, store.Processed))
	})
}

// An authentic event that does not fit the type: a 4xx made the sender repeat it
// for days, or was lost; a dead letter waits for a person.
func TestMigrating_CannotBeDecoded(t *testing.T) {
	run(t, func(t *testing.T, old, now *service) {
		require.Equal(t, http.StatusBadRequest, old.send(t, old.m.secret, old.m.typ, old.m.broken))
		require.Equal(t, http.StatusOK, now.send(t, now.m.secret, now.m.typ, now.m.broken))
		require.Empty(t, now.found)
		require.Equal(t, 1, now.count(t, store.Dead))
	})
}

// The first step: Verify in front, and the handler as it is.
func TestMigrating_VerifyInFront(t *testing.T) {
	run(t, func(t *testing.T, old, _ *service) {
		old.handler = webhook.Verify("sender", webhook.Must(old.m.preset(old.m.secret)))(old.handler)
		require.Equal(t, http.StatusOK, old.send(t, old.m.secret, old.m.typ, old.m.body))
		require.Equal(t, []string{old.m.found}, old.found)
	})
}

// Behind Acknowledge there is no signature any more: the SDK's check must go first.
func TestMigrating_CheckBehindAcknowledge(t *testing.T) {
	run(t, func(t *testing.T, old, _ *service) {
		old.inbox = newInbox(t)
		v := webhook.Must(old.m.preset(old.m.secret))
		old.handler = webhook.Chain(webhook.Verify("sender", v), old.inbox.Acknowledge("old"))(old.handler)
		whileRunning(t, old.inbox, func() {
			require.Equal(t, http.StatusOK, old.send(t, old.m.secret, old.m.typ, old.m.body))
		})
		require.Empty(t, old.found)
		require.Zero(t, old.count(t, store.Processed))
	})
}
