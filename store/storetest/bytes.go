package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/surehook/webhook/store"
)

var bytesCases = []testCase{
	{name: "Bytes/OddTextComesBack", run: bytesText},
	{name: "Bytes/OddTextIsFoundAndDistinct", run: bytesDistinct},
	{name: "Bytes/OddDestinationsAndKeys", run: bytesNames},
	{name: "Bytes/OddReasons", run: bytesReasons},
	{name: "Bytes/AnyBody", run: bytesBodies},
	{name: "Bytes/LargeBody", run: bytesLarge},
	{name: "Bytes/LargeBatch", run: bytesBatch},
	{name: "Bytes/LargeFanOut", run: bytesFanOut},
}

// oddTexts come from outside. Some differ only in what a careless store drops,
// folds or reads as its own syntax.
func oddTexts() []string {
	kib := strings.Repeat("x", 1023)
	return []string{
		"a", "A", "a ", " a", "a\x00", "a\x00b", "\x00a", "\x00", "a\n", "a\r\n",
		"\xff", "\xff\xfe", "a\xc0\x80", "\xed\xa0\x80", "caf\u00e9", "cafe\u0301", "\ufeffa", "\u202ea", "😀",
		kib + "1", kib + "2", kib,
		"a/b", "a:b", "a|b", "a\x1fb", "a,b", "{a,b}", `a\b`, `a"b`, "a'b", "'; drop table x; --", "%", "_", "a%", "*", "?", "[a]", "$1", ":a", "@a",
		"null", "NULL", "0", "00", "0.0", "true", `\x61`, "{}", "[]", "<a>", "&amp;",
	}
}

// Any bytes in the text of a record come back as they were: from Find and Claim.
func bytesText(t *tester) {
	for i, s := range append(oddTexts(), "") {
		want := &store.Record{Tenant: s, Source: s, ID: s, Type: s, Subject: s, Trace: s, Head: []byte(s), Body: []byte(s)}
		a := eventOf(want, "work")
		a.Identity = digest(fmt.Sprint(i))
		id := t.addOne(a).Deliveries[0].ID
		sameRecord(t, fmt.Sprintf("Find of %q", s), t.get(id).Record, want)
		d := t.lease("work")
		sameRecord(t, fmt.Sprintf("Claim of %q", s), d.Record, want)
		t.processed(d)
	}
}

// Texts that differ in one byte are different, and a filter finds exactly its
// own.
func bytesDistinct(t *tester) {
	texts := oddTexts()
	for _, s := range texts {
		r := t.addOne(eventOf(&store.Record{Tenant: s, Source: s, ID: s, Type: s, Subject: s}, "work"))
		equal(t, fmt.Sprintf("%q: duplicate", s), r.Duplicate, false)
	}
	for _, s := range texts {
		for what, f := range map[string]store.Filter{
			"tenant": {Tenant: s}, "source": {Source: s}, "type": {Type: s}, "subject": {Subject: s}, "event's id": {EventID: s},
		} {
			sameItems(t, fmt.Sprintf("found by %s %q", what, s), ids(t.find(f)), []string{s})
		}
	}
	// Each is a tenant of its own, and served in turn.
	served := t.turns(len(texts), tenantOf)
	equal(t, "tenants served in as many turns", len(served), len(texts))
}

// So are destinations and ordering keys: each has its own figures, holds and
// order.
func bytesNames(t *tester) {
	texts := oddTexts()
	a := event("e", texts...)
	t.add(a)
	equal(t, "added again: missing", t.addOne(again(a)).Missing, 0)
	for _, s := range texts {
		t.hold(store.Hold{Destination: s, Kind: store.Paused, Reason: s})
	}
	for _, s := range texts {
		t.nothing(s, "held")
		t.release(s, store.Paused)
		d := t.lease(s)
		equal(t, "destination claimed", d.Destination, s)
		sameItems(t, "found by destination", destinations(t.find(store.Filter{Destination: s})), []string{s})
	}
	equal(t, "rows of Stats", len(t.statsPages(7)), len(texts)+1)

	var adds []store.Add
	for _, s := range texts {
		adds = append(adds, ordered("1"+s, "keyed", s), ordered("2"+s, "keyed", s))
	}
	t.add(adds...)
	ds := t.claimAll("keyed")
	equal(t, "heads claimed", len(ds), len(texts))
	for _, d := range ds {
		equal(t, "its key", d.OrderKey, d.Record.ID[1:])
		equal(t, "the first of its key", d.Record.ID[:1], "1")
	}
}

// Reasons may quote what came from outside.
func bytesReasons(t *tester) {
	for _, s := range oddTexts() {
		id := t.put(fmt.Sprintf("%q", s), "work")
		d := t.lease("work")
		t.settled(d, store.Settle{To: store.Dead, Reason: s, Attempt: &store.Attempt{
			Outcome: store.OutcomeFailed, Class: s, Err: s, Address: s, TraceID: s, Response: []byte(s),
		}})
		got := t.get(id)
		equal(t, "reason", got.Reason, s)
		sameAttempt(t, got.Attempts[0], store.Attempt{Token: 1, Start: got.Attempts[0].Start, Outcome: store.OutcomeFailed, Class: s, Err: s, Address: s, TraceID: s, Response: []byte(s)})
		equal(t, "changed", t.update(store.Change{To: store.Discarded, Reason: s + "!"}, id), 1)
		equal(t, "reason by Update", t.get(id).Reason, s+"!")
	}
}

// noise is n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

// Bodies and heads are bytes of any value and length, none included.
func bytesBodies(t *tester) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for i, body := range [][]byte{nil, {}, {0}, all, []byte(`{"a": 1.0, "a": 2}`), []byte("\xef\xbb\xbf{}"), noise(100_000)} {
		want := &store.Record{ID: fmt.Sprint(i), Head: body, Body: body}
		id := t.addOne(eventOf(want, "work")).Deliveries[0].ID
		d := t.lease("work")
		for how, r := range map[string]*store.Record{"Find": t.get(id).Record, "Claim": d.Record} {
			if !bytes.Equal(r.Body, body) || !bytes.Equal(r.Head, body) {
				t.Fatalf("%s of body %d: %d bytes of body and %d of head, want the %d that were stored", how, i, len(r.Body), len(r.Head), len(body))
			}
		}
		t.processed(d)
	}
}

// A body of 25 MB, which is what GitHub sends at most, is stored and claimed
// beside small ones.
func bytesLarge(t *tester) {
	body := noise(25_000_000)
	id := t.addOne(eventOf(&store.Record{ID: "large", Body: body}, "work")).Deliveries[0].ID
	t.advance(time.Second)
	t.put("small", "work")
	if d := t.lease("work"); !bytes.Equal(d.Record.Body, body) {
		t.Fatalf("claimed %s with %d bytes, want the large one with %d", d.Record.ID, len(d.Record.Body), len(body))
	}
	equal(t, "claimed afterwards", t.lease("work").Record.ID, "small")
	if d := t.get(id); !bytes.Equal(d.Record.Body, body) {
		t.Fatalf("found %d bytes, want the %d that were stored", len(d.Record.Body), len(body))
	}
}

// A batch may be larger than what a store writes at once: it is one batch still.
func bytesBatch(t *tester) {
	const n = 2000
	var b store.Batch
	for i := range n {
		b.Adds = append(b.Adds, event(fmt.Sprint(i), "work"))
	}
	res := t.commit(b)
	for i, d := range t.pages(store.Filter{}, 1000) {
		if d.ID != res.Adds[i].Deliveries[0].ID || d.Record.ID != fmt.Sprint(i) {
			t.Fatalf("delivery %d found is %s of event %s, want them in the order of the batch", i, d.ID, d.Record.ID)
		}
	}
	var settles store.Batch
	for _, d := range t.claimAll("work") {
		settles.Settles = append(settles.Settles, store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed})
	}
	equal(t, "settles", len(settles.Settles), n)
	for i, r := range t.commit(settles).Settles {
		equal(t, fmt.Sprintf("settle %d", i), r, store.Done)
	}
}

// An event for 1,000 destinations keeps its body once, and comes to each.
func bytesFanOut(t *tester) {
	const n = 1000
	body := noise(256 << 10)
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("destination ", i))
	}
	a := eventOf(&store.Record{ID: "e", Body: body}, names...)
	start := time.Now()
	t.add(a)
	// A body a delivery would be 256 MiB.
	if span := time.Since(start); span > 10*time.Second {
		t.Errorf("the add took %v", span)
	}
	equal(t, "added again: missing", t.addOne(again(a)).Missing, 0)
	seen := map[string]bool{}
	for len(seen) < n {
		ds := t.claim(store.Claim{Other: 1})
		if len(ds) == 0 {
			break
		}
		for _, d := range ds {
			if seen[d.Destination] = true; !bytes.Equal(d.Record.Body, body) {
				t.Fatalf("%s has %d bytes of body, want %d", d.Destination, len(d.Record.Body), len(body))
			}
		}
	}
	equal(t, "destinations served", len(seen), n)
}
