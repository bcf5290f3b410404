package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// arrival is when the requests of these tests arrive.
var arrival = time.Unix(1_700_000_000, 0)

// trusting is a verifier that believes requests whose header X-Secret is a
// secret's value.
func trusting(secrets ...webhook.Secret) webhook.Verifier {
	return webhook.Verifier{
		Check: func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
			given := r.Header.Get("X-Secret")
			if !r.Try(func(s webhook.Secret) bool { return hmac.Equal([]byte(s.Value), []byte(given)) }) {
				return nil, webhook.ErrSignature
			}
			return []webhook.Event{{}}, nil
		},
		Secrets: func(context.Context, *webhook.Request) ([]webhook.Secret, error) { return secrets, nil },
	}
}

func post(secret, body string) *webhook.Request {
	return &webhook.Request{
		Method: http.MethodPost, Time: arrival, Body: []byte(body),
		Header: http.Header{"X-Secret": {secret}},
	}
}

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// answerOf returns the answer that a refused request would get.
func answerOf(tb testing.TB, v webhook.Verifier, r *webhook.Request) *webhook.Answer {
	tb.Helper()
	events, err := v.Verify(tb.Context(), r)
	require.Error(tb, err)
	require.Nil(tb, events)
	var a *webhook.Answer
	require.ErrorAs(tb, err, &a)
	return a
}

func TestVerifier_CompletesEvents(t *testing.T) {
	v := trusting(webhook.Secret{ID: "old", Value: "one", Tenant: "acme"}, webhook.Secret{Value: "two"})
	found := webhook.Event{}
	check := v.Check
	v.Check = func(ctx context.Context, r *webhook.Request) ([]webhook.Event, error) {
		if _, err := check(ctx, r); err != nil {
			return nil, err
		}
		return []webhook.Event{found}, nil
	}
	verify := func(secret string) webhook.Event {
		events, err := v.Verify(t.Context(), post(secret, "body"))
		require.NoError(t, err)
		require.Len(t, events, 1)
		return events[0]
	}
	sum := sha256.Sum256([]byte("body"))

	e := verify("one")
	require.Equal(t, "body", string(e.Body))
	require.Equal(t, digest("body"), e.ID, "where the sender has none, the digest of the body")
	require.Equal(t, "acme", e.Tenant)
	require.Equal(t, "old", e.Proof.SecretID)
	require.Equal(t, [][]byte{sum[:]}, e.Proof.Keys)
	require.Empty(t, e.Source, "it is the route's")

	e = verify("two")
	require.Empty(t, e.Tenant)
	require.Len(t, e.Proof.SecretID, 8, "a fingerprint")

	found = webhook.Event{ID: "evt_1", Tenant: "from the body", Body: []byte("element"), Headers: http.Header{"Authorization": {"x"}}}
	element := sha256.Sum256([]byte("element"))
	e = verify("one")
	require.Equal(t, "evt_1", e.ID)
	require.Equal(t, "acme", e.Tenant, "a secret's tenant wins over what somebody wrote")
	require.Equal(t, "element", string(e.Body))
	require.Equal(t, [][]byte{element[:]}, e.Proof.Keys)
	require.Empty(t, e.Headers, "a check cannot keep credentials")
	require.Equal(t, "from the body", verify("two").Tenant)

	found.Proof.ID = true
	require.Empty(t, verify("one").Proof.Keys, "a signed id is enough")

	found.Proof.ID = false
	v.NoDigest = true
	require.Empty(t, verify("one").Proof.Keys)
	found = webhook.Event{}
	require.Equal(t, digest("body"), verify("one").ID)
}

func TestVerifier_ReplayUnderAnotherID(t *testing.T) {
	v := trusting(webhook.Secret{Value: "s"})
	check := v.Check
	v.Check = func(ctx context.Context, r *webhook.Request) ([]webhook.Event, error) {
		events, err := check(ctx, r)
		for i := range events {
			events[i].ID = r.Header.Get("X-Delivery") // that nobody signs
		}
		return events, err
	}
	var keys [2][][]byte
	for i, id := range []string{"delivery-1", "delivery-2"} {
		r := post("s", "captured")
		r.Header.Set("X-Delivery", id)
		events, err := v.Verify(t.Context(), r)
		require.NoError(t, err)
		keys[i] = events[0].Proof.Keys
	}
	require.NotEmpty(t, keys[0])
	require.Equal(t, keys[0], keys[1])
}

func TestVerifier_Batch(t *testing.T) {
	v := trusting(webhook.Secret{ID: "s1", Value: "s"})
	check := v.Check
	var batch []webhook.Event
	v.Check = func(ctx context.Context, r *webhook.Request) ([]webhook.Event, error) {
		_, err := check(ctx, r)
		return batch, err
	}
	events, err := v.Verify(t.Context(), post("s", "[]"))
	require.NoError(t, err)
	require.NotNil(t, events, "an empty batch is valid, and not the absence of Verify")
	require.Empty(t, events)

	batch = []webhook.Event{{Body: []byte("1")}, {ID: "b", Body: []byte("2")}}
	events, err = v.Verify(t.Context(), post("s", "[1,2]"))
	require.NoError(t, err)
	require.Equal(t, digest("1"), events[0].ID)
	require.Equal(t, "b", events[1].ID)
	for _, e := range events {
		require.Equal(t, "s1", e.Proof.SecretID)
	}
}

func TestVerifier_BoundsEvents(t *testing.T) {
	n := 10_000
	v := webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) { return make([]webhook.Event, n), nil })
	events, err := v.Verify(t.Context(), post("", "[]"))
	require.NoError(t, err)
	require.Len(t, events, n)
	n++
	require.ErrorIs(t, answerOf(t, v, post("", "[]")), webhook.ErrMalformed)
}

func TestVerifier_TimeInAnotherUnit(t *testing.T) {
	for at, kept := range map[time.Time]bool{
		time.Unix(1700000000, 0): true, time.Unix(1700000000000, 0): false, time.Unix(-1<<40, 0): false, {}: false,
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC): true, time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)): false,
	} {
		v := webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) {
			return []webhook.Event{{ID: "1", Time: at, Proof: webhook.Proof{Time: !at.IsZero()}}}, nil
		})
		events, err := v.Verify(t.Context(), post("", ""))
		require.NoError(t, err)
		require.Equal(t, kept, !events[0].Time.IsZero(), at)
		require.Equal(t, kept, events[0].Proof.Time, at)
	}
}

func TestVerifier_BoundsTexts(t *testing.T) {
	long := strings.Repeat("x", 4097)
	for name, e := range map[string]webhook.Event{
		"id": {ID: long}, "type": {Type: long}, "subject": {Subject: long}, "tenant": {Tenant: long},
	} {
		t.Run(name, func(t *testing.T) {
			v := webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) { return []webhook.Event{e}, nil })
			a := answerOf(t, v, post("", ""))
			require.ErrorIs(t, a, webhook.ErrMalformed)
			require.NotContains(t, a.Error(), "xxx")
		})
	}
}

func TestVerifier_Errors(t *testing.T) {
	teapot := &webhook.Answer{Status: http.StatusTeapot, Body: []byte("short and stout"), Err: webhook.ErrSignature}
	for _, test := range []struct {
		name   string
		err    error
		status int
		body   string
		is     error
	}{
		{"no signature fits", webhook.ErrSignature, 401, "signature refused\n", webhook.ErrSignature},
		{"stale", webhook.ErrStale, 401, "signature refused\n", webhook.ErrStale},
		{"malformed", webhook.ErrMalformed, 400, "malformed request\n", webhook.ErrMalformed},
		{"too large", webhook.ErrTooLarge, 413, "body too large\n", webhook.ErrTooLarge},
		{"none of ours", context.DeadlineExceeded, 401, "signature refused\n", context.DeadlineExceeded},
		{"in the check's own words", teapot, 418, "short and stout", webhook.ErrSignature},
		{"with a status alone", &webhook.Answer{Status: 498, Err: webhook.ErrSignature}, 498, "signature refused\n", webhook.ErrSignature},
		{"an impossible status", &webhook.Answer{Status: 101, Err: webhook.ErrSignature}, 500, "internal error\n", webhook.ErrSignature},
		{"nil in disguise", (*webhook.Answer)(nil), 401, "signature refused\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := webhook.Verifier{Keyless: true, Check: func(context.Context, *webhook.Request) ([]webhook.Event, error) {
				return []webhook.Event{{ID: "must not get out"}}, test.err
			}}
			a := answerOf(t, v, post("", ""))
			require.Equal(t, test.status, a.Status)
			require.Equal(t, test.body, string(a.Body))
			require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
			require.Equal(t, "text/plain; charset=utf-8", a.Header.Get("Content-Type"))
			if test.is != nil {
				require.ErrorIs(t, a, test.is)
			}
		})
	}
}

func TestVerifier_FailsClosed(t *testing.T) {
	events := func(context.Context, *webhook.Request) ([]webhook.Event, error) { return []webhook.Event{{}}, nil }
	none := func(context.Context, *webhook.Request) ([]webhook.Secret, error) { return nil, nil }
	broken := func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
		return []webhook.Secret{{Value: "s"}}, errors.New("database is down")
	}
	heedless := trusting(webhook.Secret{Value: "s"})
	heedless.Check = func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
		r.Try(func(webhook.Secret) bool { return false })
		return []webhook.Event{{}}, nil
	}
	for _, test := range []struct {
		name     string
		verifier webhook.Verifier
		status   int
		says     string
	}{
		{"zero", webhook.Verifier{}, 500, "has no Check"},
		{"no check", webhook.Verifier{Secrets: none}, 500, "has no Check"},
		{"no secrets function", webhook.Verifier{Check: events}, 500, "has no Secrets"},
		{"no secret", webhook.Verifier{Check: events, Secrets: none}, 401, "no secret for this request"},
		{"secrets not available", webhook.Verifier{Check: events, Secrets: broken}, 503, "database is down"},
		{"a check that does not look at what Try says", heedless, 401, "must look at the result"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := answerOf(t, test.verifier, post("s", ""))
			require.Equal(t, test.status, a.Status)
			require.ErrorContains(t, a, test.says)
			require.NotContains(t, string(a.Body), test.says)
			require.Equal(t, test.status == 503, a.Header.Get("Retry-After") != "")
		})
	}
}

func TestVerifier_MethodAndSize(t *testing.T) {
	v := trusting(webhook.Secret{Value: "s"})
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "post"} {
		r := post("s", "")
		r.Method = method
		a := answerOf(t, v, r)
		require.Equal(t, http.StatusMethodNotAllowed, a.Status)
		require.Equal(t, "POST", a.Header.Get("Allow"))
	}
	v.Methods = []string{"POST", "GET"}
	r := post("s", "")
	r.Method = "GET"
	_, err := v.Verify(t.Context(), r)
	require.NoError(t, err)
	r.Method = ""
	_, err = v.Verify(t.Context(), r)
	require.NoError(t, err, "an adapter that does not know the method")

	_, err = v.Verify(t.Context(), post("s", strings.Repeat("x", 1<<20)))
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, answerOf(t, v, post("s", strings.Repeat("x", 1<<20+1))).Status)
	v.BodyLimit = 3
	require.ErrorIs(t, answerOf(t, v, post("s", "four")), webhook.ErrTooLarge)
}

// Adapters of other servers write headers as they like.
func TestVerifier_HeaderNames(t *testing.T) {
	for _, name := range []string{"x-secret", "X-SECRET", "x-Secret", "X-Secret"} {
		r := post("", "")
		r.Header = http.Header{name: {"s"}, "content-type": {"text/plain"}, "authorization": {"Bearer x"}}
		events, err := trusting(webhook.Secret{Value: "s"}).Verify(t.Context(), r)
		require.NoError(t, err, name)
		require.Equal(t, http.Header{"Content-Type": {"text/plain"}}, events[0].Headers)
	}
}

func TestVerifier_RequestIsUsedAgain(t *testing.T) {
	v := trusting(webhook.Secret{ID: "first", Value: "s", Tenant: "acme"})
	r := post("s", "")
	_, err := v.Verify(t.Context(), r)
	require.NoError(t, err)
	r.Header.Set("X-Secret", "wrong")
	require.ErrorIs(t, answerOf(t, v, r), webhook.ErrSignature)

	keyless := webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) { return []webhook.Event{{}}, nil })
	events, err := keyless.Verify(t.Context(), r)
	require.NoError(t, err)
	require.Empty(t, events[0].Tenant, "of the check before")
	require.Empty(t, events[0].Proof.SecretID)
}

func TestVerifier_TimeIsSet(t *testing.T) {
	r := post("s", "")
	r.Time = time.Time{}
	_, err := trusting(webhook.Secret{Value: "s"}).Verify(t.Context(), r)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), r.Time, time.Minute)
}

func TestUnverified(t *testing.T) {
	v := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		if len(r.Body) == 0 {
			return nil, errors.New("there is nothing")
		}
		return []webhook.Event{{ID: "evt_1"}}, nil
	})
	events, err := v.Verify(t.Context(), post("", "x"))
	require.NoError(t, err)
	require.Equal(t, webhook.Proof{}, events[0].Proof, "nothing is proven, and equal bodies are different events")
	a := answerOf(t, v, post("", ""))
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.ErrorContains(t, a, "there is nothing")
	require.Panics(t, func() { webhook.Unverified(nil) })
}

func TestRequest_Fresh(t *testing.T) {
	far := time.Unix(1<<62, 0)
	for _, test := range []struct {
		name  string
		t     time.Time
		fresh bool
	}{
		{"now", arrival, true},
		{"at the end of the past", arrival.Add(-5 * time.Minute), true},
		{"at the end of the future", arrival.Add(5 * time.Minute), true},
		{"beyond the past", arrival.Add(-5*time.Minute - 1), false},
		{"beyond the future", arrival.Add(5*time.Minute + 1), false},
		{"zero", time.Time{}, false},
		{"farther than a Duration", far, false},
		{"farther back than a Duration", time.Unix(-1<<40, 0), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &webhook.Request{Time: arrival}
			if test.fresh {
				require.NoError(t, r.Fresh(test.t))
			} else {
				require.ErrorIs(t, r.Fresh(test.t), webhook.ErrStale)
			}
		})
	}
	require.NoError(t, new(webhook.Request).Fresh(time.Now()))
}

func TestRequest_Try(t *testing.T) {
	r := &webhook.Request{Time: arrival, Secrets: []webhook.Secret{
		{ID: "empty"},
		{ID: "expired", Value: "a", Until: arrival},
		{ID: "still", Value: "b", Until: arrival.Add(1)},
		{ID: "ever", Value: "c"},
	}}
	var seen []string
	require.False(t, r.Try(func(s webhook.Secret) bool { seen = append(seen, s.ID); return false }))
	require.Equal(t, []string{"still", "ever"}, seen)
	require.True(t, r.Try(func(s webhook.Secret) bool { return s.ID == "ever" }))
	require.False(t, new(webhook.Request).Try(func(webhook.Secret) bool { return true }))
}
