package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// These tests stand inside the package: nothing shows an add to the outside.

// written returns the write that stores in, for nobody yet.
func written(in handed, known time.Duration) (a store.Add, err error) {
	a = addFor("inbox", &in.event, known)
	a.Record, err = recordOf(in)
	return a, err
}

func TestRecord_RoundTrip(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 0, 0, 123456000, time.UTC)
	for name, e := range map[string]Event{
		"nothing but an id": {ID: "1"},
		"everything": {
			Tenant: "acme", Source: "stripe", ID: "evt_1", Type: "invoice.paid", Subject: "cus_1", Time: at,
			Headers: http.Header{"Content-Type": {"application/json"}, "X-Two": {"a", "b"}, "X-None": nil},
			Body:    []byte(`{"a":1}`), Proof: Proof{ID: true, Type: true, Time: true, SecretID: "k2"},
		},
		"one fact of the proof": {ID: "1", Proof: Proof{Type: true}},
		"bytes in all texts": {
			Tenant: "\x00\xff", Source: "\n", ID: "\xc3\x28", Type: "\u2028", Subject: "</script>",
			Headers: http.Header{"X-Latin": {"caf\xe9"}, "X-Nul": {"\x00", "\x00AAAA"}, "\xff": {"", "<&>\u2029"}},
			Body:    []byte{0, 0xff, 0xfe}, Proof: Proof{SecretID: "\xff"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := written(handed{event: e}, time.Hour)
			require.NoError(t, err)
			require.Equal(t, time.Hour, a.Known)
			back, err := EventOf(a.Record)
			require.NoError(t, err)
			require.Equal(t, e, back)
			require.Equal(t, back, keptOf(handed{event: e}, a.Record).event, "an attempt gets the same without the reading")
		})
	}
}

// Stores keep times to the microsecond and in UTC; whoever is handed the event
// that was just added sees no other.
func TestRecord_TimeAsStored(t *testing.T) {
	zone := time.FixedZone("", 3600)
	e := Event{ID: "1", Time: time.Date(2026, 1, 1, 1, 0, 0, 123456789, zone)}
	a, err := written(handed{event: e}, 0)
	require.NoError(t, err)
	want := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
	require.Equal(t, want, a.Record.Time)
	require.Equal(t, want, keptOf(handed{event: e}, a.Record).event.Time)
	e.Time = time.Time{}
	a, err = written(handed{event: e}, 0)
	require.NoError(t, err)
	require.True(t, a.Record.Time.IsZero())
}

func TestRecord_NonceIsMadeForEachAdd(t *testing.T) {
	a, _ := written(handed{event: Event{ID: "1"}}, 0)
	b, _ := written(handed{event: Event{ID: "1"}}, 0)
	require.NotEqual(t, a.Nonce, b.Nonce)
	require.Equal(t, a.Identity, b.Identity)
}

// Of the names that what is stored depends on none may change: events that were
// stored by an earlier version are read, and known, by a later one.
func TestRecord_FormatIsStable(t *testing.T) {
	a, err := written(handed{event: Event{
		Tenant: "acme", Source: "stripe", ID: "evt_1", Headers: http.Header{"Content-Type": {"text/plain"}},
		Body: []byte("x"), Proof: Proof{ID: true, SecretID: "k1", Keys: [][]byte{{1}}},
	}}, 0)
	require.NoError(t, err)
	require.Equal(t, "d415630a7132f69c", hex.EncodeToString(a.Identity[:8]))
	require.Equal(t, "ffdbde0437a50f20", hex.EncodeToString(a.Keys[0][:8]))
	require.Equal(t, sha256.Sum256([]byte("x")), a.Digest)
	require.JSONEq(t, `{"h":{"Content-Type":["text/plain"]},"p":{"id":true,"secret":"k1"}}`, string(a.Record.Head))
}

func TestEventOf_ErasedAndBroken(t *testing.T) {
	e, err := EventOf(&store.Record{ID: "1", Type: "t"})
	require.NoError(t, err)
	require.Equal(t, Event{ID: "1", Type: "t"}, e)

	_, err = EventOf(&store.Record{ID: "1", Head: []byte(`{"h":"s3cret"}`)})
	require.EqualError(t, err, "webhook: read back event: its head of 14 bytes is not what was written: *json.UnmarshalTypeError")
}

func FuzzRecord(f *testing.F) {
	f.Add("", "shop", "1", "order.paid", "cus_1", "Content-Type", "application/json", "k1", []byte(`{"a":1}`), int64(0), false)
	f.Add("\x00", "\xff", "\xc3\x28", "a\nb", "\u2028", "\x00AA==", "\x00", "\x00!", []byte{0}, int64(1e18), true)
	f.Add("t", "s", "", "", "", "X", "caf\xe9", "", []byte(nil), int64(-1), true)
	f.Fuzz(func(t *testing.T, tenant, source, id, typ, subject, header, value, secret string, body []byte, unix int64, proven bool) {
		e := Event{
			Tenant: tenant, Source: source, ID: id, Type: typ, Subject: subject, Time: time.Unix(unix%1e10, 0).UTC(),
			Headers: http.Header{header: {value, value + "\xff"}}, Body: body,
			Proof: Proof{ID: proven, SecretID: secret},
		}
		a, err := written(handed{event: e}, time.Hour)
		if err != nil {
			return
		}
		back, err := EventOf(a.Record)
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == "" {
			sum := sha256.Sum256(body)
			e.ID = hex.EncodeToString(sum[:])
		}
		if kept := keptOf(handed{event: e}, a.Record).event; !reflect.DeepEqual(kept, back) {
			t.Fatalf("%#v\nis handed on as\n%#v", back, kept)
		}
		if !bytes.Equal(e.Body, back.Body) {
			t.Fatalf("body %q came back as %q", e.Body, back.Body)
		}
		e.Body, back.Body = nil, nil
		if !reflect.DeepEqual(e, back) {
			t.Fatalf("%#v\ncame back as\n%#v", e, back)
		}
		other := e
		other.ID += "\x00"
		b, err := written(handed{event: other}, time.Hour)
		if err == nil && b.Identity == a.Identity {
			t.Fatal("two ids, one identity")
		}
	})
}

// FuzzEventOf reads heads that no version of this package wrote: they are refused
// or read, and never quoted.
func FuzzEventOf(f *testing.F) {
	for _, head := range []string{
		"", "{}", "null", "[]", `{"h":null,"p":null}`, `{"h":{"A":["b"]},"p":{"id":true}}`, `{"h":{"A":"s3cret"}}`,
		`{"h":{"\u0000QQ==":["\u0000not base64"]}}`, `{"p":{"secret":"\u0000/w=="}}`, `{"x":1}`, "{", "\xff",
	} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		r := &store.Record{ID: "1", Source: "shop", Head: head, Body: []byte("b")}
		e, err := EventOf(r)
		if err != nil {
			if len(head) > 40 && bytes.Contains([]byte(err.Error()), head) {
				t.Fatalf("quoted: %v", err)
			}
			return
		}
		if e.ID != "1" || e.Source != "shop" || string(e.Body) != "b" {
			t.Fatalf("%#v", e)
		}
		// What was read can be written, and read again as the same.
		a, err := written(handed{event: e}, 0)
		if err != nil {
			t.Fatal(err)
		}
		again, err := EventOf(a.Record)
		if err != nil || !reflect.DeepEqual(normal(e), normal(again)) {
			t.Fatalf("%#v\nthen\n%#v\n%v", e, again, err)
		}
	})
}

// normal is e with an empty map of headers as none.
func normal(e Event) Event {
	if len(e.Headers) == 0 {
		e.Headers = nil
	}
	return e
}

// A head is written as package json would write it, so that it reads it back.
func FuzzHead(f *testing.F) {
	f.Add("Content-Type", "application/json", "POST", "/a?b", true)
	f.Add("", "\x00<>&\u2028\"\\", "\u00e9", "\x7f\n", false)
	f.Fuzz(func(t *testing.T, name, value, method, path string, flag bool) {
		for _, s := range []*string{&name, &value, &method, &path} {
			*s = strings.ToValidUTF8(*s, "\uFFFD")
		}
		for _, h := range []head{
			{},
			{Headers: http.Header{name: {value, path}, "X-" + name: {}, "Y": nil}},
			{Proof: &headProof{}, Arrival: &arrival{}, Carried: map[string]string{name: value, path: ""}},
			{
				Headers: http.Header{name: {value}}, Proof: &headProof{ID: flag, Type: !flag, Time: flag, SecretID: value},
				Arrival: &arrival{Method: method, Path: path, Query: value, Host: name, Pattern: path, Values: []string{value, ""}, Remote: name},
			},
		} {
			var got, want head
			require.NoError(t, json.Unmarshal(h.append(nil), &got), "%s", h.append(nil))
			marshalled, err := json.Marshal(h)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(marshalled, &want))
			require.Equal(t, want, got)
		}
	})
}
