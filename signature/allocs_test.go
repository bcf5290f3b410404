package signature_test

import (
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	. "github.com/surehook/webhook/signature"
)

// inRace reports whether the race detector runs, under which a sync.Pool loses
// some of what it is given: then a prepared HMAC is sometimes made anew.
func inRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// An authentic request costs the event, its headers (a map and its table), and
// the texts or the digest of the body. The comparison costs nothing.
func TestVerify_Allocations(t *testing.T) {
	spare := 0.0
	if inRace() {
		spare = 4
	}
	for _, test := range []struct {
		name   string
		scheme Scheme
		most   float64
	}{
		{"id in a signed header", Scheme{Signed: []Part{Header("Acme-Id"), Text("."), Body()}, ID: Header("Acme-Id")}, 3},
		{"id, type and time in the body", Scheme{ID: JSON("id"), Type: JSON("type"), Time: Seconds(JSON("created"))}, 4},
		{"type in the body, and no time there", Scheme{Signed: []Part{Header("Acme-Id"), Text("."), Body()}, ID: Header("Acme-Id"), Type: JSON("type"), Time: RFC3339(JSON("time"))}, 4},
		{"id that is not signed", Scheme{ID: Header("Acme-Id")}, 4},
	} {
		v := verifierOf(t, test.scheme)
		for _, sigs := range []int{1, 30} {
			r := &webhook.Request{
				Method: http.MethodPost, Body: benchBody(), Time: sentAt,
				Header:  http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Acme/1.0"}, "Accept": {"*/*"}},
				Secrets: []webhook.Secret{{Value: "secret"}},
			}
			require.NoError(t, v.Sign(r, webhook.Event{ID: "evt_1"}))
			for range sigs - 1 {
				r.Header.Add("Acme-Signature", strings.Repeat("0", 64))
			}
			got := testing.AllocsPerRun(100, func() {
				if _, err := v.Verify(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			})
			require.LessOrEqual(t, got, test.most+spare, "%s, %d signatures", test.name, sigs)
		}
	}
}

// What a forger sends does not decide how much memory is taken for it.
func TestVerify_AllocationsOfHostileHeaders(t *testing.T) {
	v := verifierOf(t, Scheme{
		Separator: ",", Prefix: "v1=", Signed: []Part{Entry("t="), Text("."), Body()}, Sent: Seconds(Entry("t=")), ID: JSON("id"),
	})
	allocs := func(header ...string) float64 {
		r := &webhook.Request{Header: http.Header{"Acme-Signature": header}, Body: benchBody(), Time: sentAt}
		return testing.AllocsPerRun(100, func() {
			if _, err := v.Verify(t.Context(), r); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	few := allocs(strings.Repeat("v1=00,", 40))
	require.InDelta(t, few, allocs(strings.Repeat("v1=00,", 100_000)), 1)
	require.InDelta(t, few, allocs(make([]string, 100_000)...), 2)
	long := allocs("t=1700000000,v1=" + strings.Repeat("0", 64))
	require.InDelta(t, long, allocs("t=1700000000,v1="+strings.Repeat("0", 1<<20)), 4)
}
