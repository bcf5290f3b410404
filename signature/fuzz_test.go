package signature

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

var fuzzScheme = Scheme{
	Name: "acme", Header: "Acme-Signature", Separator: ",", Prefix: "v1=",
	Signed: []Part{Entry("t="), Text("."), Header("Acme-Id"), Text("."), Body()},
	Sent:   Seconds(Entry("t=")), ID: Header("Acme-Id"), Type: JSON("type"),
}

// Nothing but the genuine signature is accepted, whatever the headers hold.
func FuzzSignatureHeader(f *testing.F) {
	at := time.Unix(1_700_000_000, 0)
	v, err := fuzzScheme.Verifier("secret")
	require.NoError(f, err)
	genuine := &webhook.Request{Time: at, Body: []byte(`{"type":"x"}`), Secrets: []webhook.Secret{{Value: "secret"}}}
	require.NoError(f, v.Sign(genuine, webhook.Event{ID: "evt_1"}))
	header := genuine.Header.Get("Acme-Signature")
	_, signature, ok := strings.Cut(header, "v1=")
	require.True(f, ok)

	f.Add(header, "", "evt_1", `{"type":"x"}`)
	f.Add("t=1700000000,v0="+signature, "", "evt_1", `{"type":"x"}`)
	f.Add("t=1700000000,v1=,v1=0,v1="+signature, "v1="+signature, "evt_1", `{"type":"x"}`)
	f.Add("t=1700000000,t=1", "v1==", "evt_1", "")
	f.Add(",,,= ,v1", "t=", "", "")
	f.Add(strings.Repeat("v1=00,", 40), "t=99999999999999999999", "a.b", "")
	f.Fuzz(func(t *testing.T, first, second, id, body string) {
		r := &webhook.Request{
			Time: at, Body: []byte(body),
			Header: http.Header{"Acme-Signature": {first, second}, "Acme-Id": {id}},
		}
		events, err := v.Verify(t.Context(), r)
		if err != nil {
			require.Nil(t, events)
			if len(signature) < len(err.Error()) {
				require.NotContains(t, err.Error(), signature)
			}
			return
		}
		require.Equal(t, "evt_1", id)
		require.Equal(t, string(genuine.Body), body)
		require.Contains(t, first+","+second, "v1="+signature)
		require.Contains(t, first+","+second, "t=1700000000")
	})
}

// A time is read as strconv reads it, or not at all, and spelt as it was read.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{
		"1700000000", "1700000000123", "-1", "+1", "0", "01", "1e9", "", " 1", "1 ", "１", "9223372036854775807",
		"9223372036854775808", "999999999999999999", "2026-11-03T20:26:10.344522Z", "2026-11-03T20:26:10+01:00", "2026-11-03 20:26:10Z",
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 31 Feb 1994 08:49:60 GMT",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, unit := range []format{seconds, milliseconds} {
			at, ok := unit.parse(s)
			if !ok {
				continue
			}
			require.Equal(t, s, unit.spell(at))
			n, err := strconv.ParseInt(s, 10, 64)
			require.NoError(t, err)
			require.Positive(t, n)
			r := webhook.Request{Time: time.Unix(1_700_000_000, 0)}
			near := at.After(r.Time.Add(-5*time.Minute-1)) && at.Before(r.Time.Add(5*time.Minute+1))
			require.Equal(t, near, r.Fresh(at) == nil)
		}
		if at, ok := httpDate.parse(s); ok {
			require.Equal(t, s, httpDate.spell(at))
			again, err := http.ParseTime(s)
			require.NoError(t, err)
			require.True(t, at.Equal(again))
		}
		if at, ok := rfc3339.parse(s); ok && at.UTC().Year() > 0 && at.UTC().Year() < 10_000 {
			again, ok := rfc3339.parse(rfc3339.spell(at))
			require.True(t, ok)
			require.True(t, at.Equal(again))
		}
	})
}

// Of two versions in one header, each key accepts its own genuine signature, in
// its own spelling.
func FuzzEd25519(f *testing.F) {
	private, public := NewKeyPair()
	v, err := Scheme{
		Name: "acme", Header: "Acme-Signature", Separator: " ", Prefix: "v1,", Ed25519: "v1a,", Encoding: Base64, Key: StandardKey,
		Signed: []Part{Header("Acme-Id"), Text("."), Body()}, ID: Header("Acme-Id"),
	}.Verifier(public)
	require.NoError(f, err)
	genuine := &webhook.Request{Body: []byte("{}"), Secrets: []webhook.Secret{{Value: private}}}
	require.NoError(f, v.Sign(genuine, webhook.Event{ID: "1"}))
	header := genuine.Header.Get("Acme-Signature")

	f.Add(0, "", "")
	f.Add(0, "v1,AAAA ", " v1a,AAAA")
	f.Add(1, "v1a,", "=")
	f.Add(len(header), "", " v1a,"+strings.Repeat("A", 86)+"==")
	f.Add(5, "v1a,", "")
	f.Fuzz(func(t *testing.T, cut int, before, after string) {
		// The genuine one, with its first bytes cut off and something around it.
		line := before + header[min(max(cut, 0), len(header)):] + after
		events, err := v.Verify(t.Context(), &webhook.Request{
			Body: []byte("{}"), Header: http.Header{"Acme-Signature": {line}, "Acme-Id": {"1"}},
		})
		if err == nil {
			require.Len(t, events, 1)
			require.Contains(t, strings.Split(line, " "), header)
		}
	})
}

// What is decoded is spelt as it would be encoded.
func FuzzEncoding(f *testing.F) {
	for _, seed := range []string{"", "00", "0A", "AA==", "AB==", "A\nA=", "AAA=", "a\r\n="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, e := range []Encoding{Hex, Base64} {
			for size := range 4 {
				sig := make([]byte, size)
				if e.decode(sig, text) {
					require.Equal(t, text, string(e.append(nil, sig)))
				}
			}
		}
	})
}
