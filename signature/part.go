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
	name string // text, name of the header, prefix of the entry, path of the field
}

type kind uint8

const (
	none kind = iota
	text
	body
	method
	address
	target
	header
	entry
	field
)

// String names the kinds that events' fields are taken from. Replay keys hold it:
// it must not change.
func (k kind) String() string {
	switch k {
	case header:
		return "header"
	case entry:
		return "entry"
	case field:
		return "field"
	default:
		return ""
	}
}

// Text is a constant, such as the separator between two signed parts.
func Text(s string) Part { return Part{text, s} }

// Body is the request's body, as it came.
func Body() Part { return Part{body, ""} }

// Method is the request's method: "POST".
func Method() Part { return Part{method, ""} }

// URL is the URL that the sender called, exactly as it is spelt there:
// "https://hooks.example.com/acme?tenant=7". A request tells its path and query
// alone; scheme, host and what a proxy cut off the path are
// [webhook.Verifier].BaseURL. Without net/http they stand in Request.URL.
func URL() Part { return Part{address, ""} }

// Path is the path and query of the URL that the sender called, exactly as they
// are spelt there: "/acme?tenant=7". Where a proxy cut something off the path,
// [webhook.Verifier].BaseURL has it.
func Path() Part { return Part{target, ""} }

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
	httpDate
)

// Seconds is a time in decimal seconds since 1970.
func Seconds(p Part) Time { return Time{p, seconds} }

// Milliseconds is a time in decimal milliseconds since 1970.
func Milliseconds(p Part) Time { return Time{p, milliseconds} }

// RFC3339 is a time such as "2026-11-03T20:26:10.344522Z", with any offset.
func RFC3339(p Part) Time { return Time{p, rfc3339} }

// HTTPDate is a time such as "Sun, 06 Nov 1994 08:49:37 GMT": the IMF-fixdate of
// RFC 9110, section 5.6.7, and none of the obsolete forms.
func HTTPDate(p Part) Time { return Time{p, httpDate} }

// maxDigits keeps a decimal time within an int64.
const maxDigits = 18

// parse returns the time that s spells, and whether it does.
func (f format) parse(s string) (time.Time, bool) {
	switch f {
	case rfc3339:
		t, err := time.Parse(time.RFC3339, s)
		return t, err == nil
	case httpDate:
		// Package time minds neither the day of the week nor the case of names.
		t, err := time.Parse(http.TimeFormat, s)
		return t, err == nil && t.Format(http.TimeFormat) == s
	default:
		return f.parseDecimal(s)
	}
}

func (f format) parseDecimal(s string) (time.Time, bool) {
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
	case httpDate:
		return t.UTC().Format(http.TimeFormat)
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
	case httpDate:
		return "an HTTP date"
	default:
		return "decimal seconds since 1970"
	}
}
