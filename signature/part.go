package signature

import (
	"net/http"
	"strconv"
	"time"
)

// Part is a place in a request that a text is taken from. A Scheme joins parts to
// what is signed, and finds the event's id, type and times in them.
type Part struct {
	kind kind
	name string // text, name of the header, prefix of the entry, path
}

type kind uint8

const (
	none kind = iota
	text
	body
	header
	entry
	field
)

// Text is a constant, such as the separator between two signed parts.
func Text(s string) Part { return Part{text, s} }

// Body is the request's body, as it came.
func Body() Part { return Part{body, ""} }

// Header is the value of a request's header. One that is sent twice is refused.
func Header(name string) Part { return Part{header, http.CanonicalHeaderKey(name)} }

// Entry is what follows prefix in an entry of the signature's header: of
// "t=1700000000,v1=…" the entry "t=" is "1700000000".
func Entry(prefix string) Part { return Part{entry, prefix} }

// JSON is a field of a body that is a JSON object, named by the keys that lead to
// it, with dots between: "id", "event.id". A string is taken with its escapes
// resolved, a number as it is spelt. All else is none, and so are a field that
// is not there and a string that no exact text stands for. Of a key that an
// object has twice the last one counts, as with encoding/json; other than there,
// upper and lower case differ.
//
// The body is read, not validated: of one that is not JSON, JSON may give a text
// or none.
func JSON(path string) Part { return Part{field, path} }

// Time is a Part that tells a time, and how it is written there.
type Time struct {
	part   Part
	format format
}

type format uint8

const (
	seconds format = iota
	milliseconds
	rfc3339
)

// Seconds is a time in decimal seconds since 1970.
func Seconds(p Part) Time { return Time{p, seconds} }

// Milliseconds is a time in decimal milliseconds since 1970.
func Milliseconds(p Part) Time { return Time{p, milliseconds} }

// RFC3339 is a time such as "2026-11-03T20:26:10.344522Z", with any offset.
func RFC3339(p Part) Time { return Time{p, rfc3339} }

// maxDigits keeps a decimal time within an int64.
const maxDigits = 18

// parse returns the time that s spells, and whether it does.
func (f format) parse(s string) (time.Time, bool) {
	if f == rfc3339 {
		t, err := time.Parse(time.RFC3339, s)
		return t, err == nil
	}
	// Digits alone, as no sender writes a sign, a fraction or a leading zero.
	if s == "" || len(s) > maxDigits || s[0] == '0' {
		return time.Time{}, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return time.Time{}, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	if f == milliseconds {
		return time.UnixMilli(n).UTC(), true
	}
	return time.Unix(n, 0).UTC(), true
}

// spell is the reverse of parse.
func (f format) spell(t time.Time) string {
	switch f {
	case milliseconds:
		return strconv.FormatInt(t.UnixMilli(), 10)
	case rfc3339:
		return t.UTC().Format(time.RFC3339Nano)
	default:
		return strconv.FormatInt(t.Unix(), 10)
	}
}

// misread names the unit that t was probably written in when it is as far off as
// only a wrong unit can be; empty if it is not.
func (f format) misread(t time.Time) string {
	switch {
	case f == seconds && t.Year() > 5000:
		return "milliseconds"
	case f == milliseconds && t.Year() < 1980:
		return "seconds"
	default:
		return ""
	}
}

func (f format) String() string {
	switch f {
	case milliseconds:
		return "decimal milliseconds since 1970"
	case rfc3339:
		return "a time of RFC 3339"
	default:
		return "decimal seconds since 1970"
	}
}
