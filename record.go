package webhook

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/surehook/webhook/store"
)

// This file is the only place where an Event becomes a store.Record and back.

// handed is what an attempt is given: an event, and what is kept with it that an
// Event does not show.
type handed struct {
	event   Event
	arrival *arrival          // of the request that brought it; nil: there was none
	carried map[string]string // by InboxConfig.Carry
}

// EventOf reads back the event of a record that was found in a store; a handler
// is given it. Head and Body are there in what Queue.Get returns; where they are
// not, or were erased, the event has no headers and no body.
func EventOf(r *store.Record) (Event, error) {
	h, err := handedOf(r)
	if err != nil {
		return Event{}, err
	}
	return h.event, nil
}

// handedOf is EventOf for an attempt.
func handedOf(r *store.Record) (*handed, error) {
	e := Event{
		Tenant: r.Tenant, Source: r.Source, ID: r.ID, Type: r.Type, Subject: r.Subject,
		Time: r.Time, Body: r.Body,
	}
	if len(r.Head) == 0 {
		return &handed{event: e}, nil
	}
	var h head
	if err := json.Unmarshal(r.Head, &h); err != nil {
		// Its text would quote the head.
		return nil, fmt.Errorf("webhook: read back event: its head of %d bytes is not what was written: %T", len(r.Head), err)
	}
	e.Headers = mapText(h.Headers, disarm)
	if p := h.Proof; p != nil {
		e.Proof = Proof{ID: p.ID, Type: p.Type, Time: p.Time, SecretID: disarm(p.SecretID)}
	}
	return &handed{event: e, arrival: h.Arrival.mapText(disarm), carried: mapCarried(h.Carried, disarm)}, nil
}

// addFor returns the part of a write by which e is known, made of e as it came. An
// empty ID is set: to the digest of the body.
func addFor(queue string, e *Event, known time.Duration) store.Add {
	digest := sha256.Sum256(e.Body)
	if e.ID == "" {
		e.ID = hex.EncodeToString(digest[:])
	}
	a := store.Add{
		Queue:    queue,
		Identity: digestOf("webhook identity", queue, e.Tenant, e.Source, e.ID),
		Known:    known,
		Digest:   digest,
	}
	rand.Read(a.Nonce[:])
	for _, k := range e.Proof.Keys {
		a.Keys = append(a.Keys, digestOf("webhook replay key", queue, e.Tenant, e.Source, string(k)))
	}
	return a
}

// recordOf returns what is stored of in. ErrMalformed names the field that is out of
// bounds.
func recordOf(in handed) (*store.Record, error) {
	e := in.event
	for _, f := range [...]struct{ name, text string }{
		{"id", e.ID}, {"type", e.Type}, {"subject", e.Subject}, {"tenant", e.Tenant}, {"source", e.Source},
	} {
		if len(f.text) > maxText {
			return nil, fmt.Errorf("%w: event %s of %d bytes, at most %d", ErrMalformed, f.name, len(f.text), maxText)
		}
	}
	if !tellable(e.Time) {
		return nil, fmt.Errorf("%w: event time in the year %d", ErrMalformed, e.Time.UTC().Year())
	}
	h := head{Headers: mapText(e.Headers, arm), Arrival: in.arrival.mapText(arm), Carried: mapCarried(in.carried, arm)}
	if p := e.Proof; p.ID || p.Type || p.Time || p.SecretID != "" {
		h.Proof = &headProof{ID: p.ID, Type: p.Type, Time: p.Time, SecretID: arm(p.SecretID)}
	}
	return &store.Record{
		Tenant: e.Tenant, Source: e.Source, ID: e.ID, Type: e.Type, Subject: e.Subject,
		Time: stored(e.Time), Head: h.append(make([]byte, 0, 256)), Body: e.Body,
	}, nil
}

// keptOf returns what handedOf would read back from r, which was made of in: the
// same, without the work.
func keptOf(in handed, r *store.Record) *handed {
	p := in.event.Proof
	k := &handed{
		event: Event{
			Tenant: r.Tenant, Source: r.Source, ID: r.ID, Type: r.Type, Subject: r.Subject, Time: r.Time, Body: r.Body,
			Proof: Proof{ID: p.ID, Type: p.Type, Time: p.Time, SecretID: p.SecretID},
		},
		arrival: in.arrival,
		carried: in.carried,
	}
	if len(in.event.Headers) > 0 {
		k.event.Headers = in.event.Headers
	}
	return k
}

// storedOf says what became of each of adds.
func storedOf(adds []store.Add, added []store.Added) []Stored {
	s := make([]Stored, len(adds))
	for k := range added {
		a := &added[k]
		s[k] = Stored{
			ID: adds[k].Record.ID, Deliveries: len(a.Deliveries),
			Duplicate: a.Duplicate && a.Missing == 0, Changed: a.Changed,
		}
	}
	return s
}

// stored returns t as a store keeps it.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Microsecond)
}

// arm makes a text fit for JSON, whose strings are UTF-8 while headers are bytes:
// what is not goes as a NUL and base64, and comes back as it was.
func arm(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, "\x00") {
		return s
	}
	return "\x00" + base64.StdEncoding.EncodeToString([]byte(s))
}

// disarm undoes arm.
func disarm(s string) string {
	if armed, ok := strings.CutPrefix(s, "\x00"); ok {
		if b, err := base64.StdEncoding.DecodeString(armed); err == nil {
			return string(b)
		}
	}
	return s
}

// mapText returns h with f applied to its names and values; h itself where that
// changes nothing, as nearly always.
func mapText(h http.Header, f func(string) string) http.Header {
	same := true
	for name, values := range h {
		same = same && f(name) == name && !slices.ContainsFunc(values, func(v string) bool { return f(v) != v })
	}
	if same {
		return h
	}
	m := make(http.Header, len(h))
	for name, values := range h {
		mapped := make([]string, len(values))
		for i, v := range values {
			mapped[i] = f(v)
		}
		m[f(name)] = mapped
	}
	return m
}

// mapCarried is mapText for carried values.
func mapCarried(c map[string]string, f func(string) string) map[string]string {
	same := true
	for k, v := range c {
		same = same && f(k) == k && f(v) == v
	}
	if same {
		return c
	}
	m := make(map[string]string, len(c))
	for k, v := range c {
		m[f(k)] = f(v)
	}
	return m
}

// digestOf is SHA-256 over the parts, each with its length before it: no part is
// ever joined by a separator that another could contain.
func digestOf(parts ...string) [sha256.Size]byte {
	buf := make([]byte, 0, 512)
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	return sha256.Sum256(buf)
}
