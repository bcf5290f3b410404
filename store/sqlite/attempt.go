package sqlite

import (
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/surehook/webhook/store"
)

const (
	insertAttempt = `
INSERT INTO webhook_attempt (delivery, token, outcome, start, duration, dns, connect, tls, first_byte, class, error, status, address, trace, response)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET outcome = excluded.outcome, start = excluded.start, duration = excluded.duration`

	selectAttempts = `
SELECT token, outcome, start, duration, dns, connect, tls, first_byte, class, error, status, address, trace, response
FROM webhook_attempt WHERE delivery = ? ORDER BY token`
)

// success is the attempt that ended a delivery, in its own row: a row of its own
// would be half of what a delivery costs that succeeds at once.
type success struct {
	started, took, rest any
}

// successRest is what an attempt over the network has besides.
type successRest struct {
	DNS       time.Duration `json:"dns,omitempty"`
	Connect   time.Duration `json:"connect,omitempty"`
	TLS       time.Duration `json:"tls,omitempty"`
	FirstByte time.Duration `json:"first_byte,omitempty"`
	Status    int           `json:"status,omitempty"`
	Address   string        `json:"address,omitempty"`
	TraceID   string        `json:"trace,omitempty"`
	Response  []byte        `json:"response,omitempty"`
}

// ownOf returns what of a settle's attempt goes into the delivery's row: nothing,
// where it needs one of its own.
func ownOf(x *store.Settle) success {
	a := x.Attempt
	if a == nil || x.To != store.Processed || a.Outcome != store.OutcomeProcessed ||
		a.Class != "" || a.Err != "" || !utf8.ValidString(a.Address) || !utf8.ValidString(a.TraceID) {
		return success{}
	}
	own := success{started: startOf(a), took: int64(a.Duration)}
	rest := successRest{
		DNS: a.DNS, Connect: a.Connect, TLS: a.TLS, FirstByte: a.FirstByte,
		Status: a.Status, Address: a.Address, TraceID: a.TraceID, Response: a.Response,
	}
	if !rest.empty() {
		own.rest = rest.text()
	}
	return own
}

// text is r in JSON, as encoding/json has it; what cannot be written so is "".
func (r *successRest) text() string {
	if !asIs(r.Address) || !asIs(r.TraceID) {
		text, _ := json.Marshal(r) // numbers, valid text and bytes: no error can be
		return string(text)
	}
	var buf [256]byte
	b := append(buf[:0], '{')
	number := func(key string, n int64) {
		if n != 0 {
			b = strconv.AppendInt(append(append(append(b, '"'), key...), `":`...), n, 10)
			b = append(b, ',')
		}
	}
	number("dns", int64(r.DNS))
	number("connect", int64(r.Connect))
	number("tls", int64(r.TLS))
	number("first_byte", int64(r.FirstByte))
	number("status", int64(r.Status))
	word := func(key, value string) {
		if value != "" {
			b = append(append(append(append(append(b, '"'), key...), `":"`...), value...), `",`...)
		}
	}
	word("address", r.Address)
	word("trace", r.TraceID)
	if len(r.Response) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, `"response":"`...), r.Response), `",`...)
	}
	b[len(b)-1] = '}' // instead of the last comma
	return string(b)
}

// asIs reports whether JSON writes s as it is.
func asIs(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

func (r *successRest) empty() bool {
	return r.DNS == 0 && r.Connect == 0 && r.TLS == 0 && r.FirstByte == 0 &&
		r.Status == 0 && r.Address == "" && r.TraceID == "" && len(r.Response) == 0
}

// startOf is when a started as it is written: in a delivery's row a NULL says that
// there is no attempt, so a zero time is written as such.
func startOf(a *store.Attempt) int64 { return a.Start.UnixMicro() }

func (w *work) insertAttempt(delivery int64, token uint64, a *store.Attempt) error {
	_, err := w.db.exec(insertAttempt, delivery, int64(token), a.Outcome, startOf(a), int64(a.Duration),
		int64(a.DNS), int64(a.Connect), int64(a.TLS), int64(a.FirstByte),
		[]byte(a.Class), []byte(a.Err), int64(a.Status), []byte(a.Address), []byte(a.TraceID), a.Response)
	return err
}

// attempts reads those of a delivery, the one in its own row included.
func attempts(db session, delivery int64, token uint64, own ownAttempt) ([]store.Attempt, error) {
	var list []store.Attempt
	err := db.query(selectAttempts, func(v []driver.Value) error {
		var a store.Attempt
		var token, start, duration, dns, connect, tls, first int64
		err := scan(v, &token, &a.Outcome, &start, &duration, &dns, &connect, &tls, &first,
			&a.Class, &a.Err, &a.Status, &a.Address, &a.TraceID, &a.Response)
		a.Token, a.Start, a.Duration = uint64(token), startAt(start), time.Duration(duration)
		a.DNS, a.Connect, a.TLS, a.FirstByte = time.Duration(dns), time.Duration(connect), time.Duration(tls), time.Duration(first)
		list = append(list, a)
		return err
	}, delivery)
	if err != nil {
		return nil, err
	}
	if own.there {
		a, err := own.attempt(token)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// ownAttempt is the success in a delivery's row as it was read.
type ownAttempt struct {
	there         bool
	started, took int64
	rest          string
}

// attempt of own. Its token is the delivery's: nothing was claimed after it.
func (o ownAttempt) attempt(token uint64) (store.Attempt, error) {
	a := store.Attempt{Token: token, Start: startAt(o.started), Duration: time.Duration(o.took), Outcome: store.OutcomeProcessed}
	if o.rest == "" {
		return a, nil
	}
	var r successRest
	err := json.Unmarshal([]byte(o.rest), &r)
	a.DNS, a.Connect, a.TLS, a.FirstByte = r.DNS, r.Connect, r.TLS, r.FirstByte
	a.Status, a.Address, a.TraceID, a.Response = r.Status, r.Address, r.TraceID, r.Response
	return a, err
}

// startAt undoes startOf.
func startAt(micros int64) time.Time {
	if t := instant(micros); !t.Equal(time.Time{}) {
		return t
	}
	return time.Time{}
}
