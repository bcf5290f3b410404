package webhook

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// head is what a record carries beside the fields that stores index. Its names
// are short because every event pays for them.
type head struct {
	Headers http.Header       `json:"h,omitempty"`
	Proof   *headProof        `json:"p,omitempty"`
	Arrival *arrival          `json:"r,omitempty"`
	Carried map[string]string `json:"c,omitempty"`
}

// headProof is a Proof without its keys, which the store has as digests.
type headProof struct {
	ID       bool   `json:"id,omitempty"`
	Type     bool   `json:"type,omitempty"`
	Time     bool   `json:"time,omitempty"`
	SecretID string `json:"secret,omitempty"`
}

// append appends what json.Marshal would make of h, but for characters that it
// escapes for HTML: at a third of the time, of each event.
func (h *head) append(b []byte) []byte {
	o := object{b: append(b, '{')}
	if len(h.Headers) > 0 {
		o.name("h")
		headers := object{b: append(o.b, '{')}
		for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
			headers.texts(name, h.Headers[name])
		}
		o.b = headers.end()
	}
	if p := h.Proof; p != nil {
		o.name("p")
		proof := object{b: append(o.b, '{')}
		proof.flag("id", p.ID)
		proof.flag("type", p.Type)
		proof.flag("time", p.Time)
		proof.text("secret", p.SecretID)
		o.b = proof.end()
	}
	if a := h.Arrival; a != nil {
		o.name("r")
		o.b = a.append(o.b)
	}
	if len(h.Carried) > 0 {
		o.name("c")
		carried := object{b: append(o.b, '{')}
		for _, name := range slices.Sorted(maps.Keys(h.Carried)) {
			carried.name(name)
			carried.b = appendText(carried.b, h.Carried[name])
		}
		o.b = carried.end()
	}
	return o.end()
}

func (a *arrival) append(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.text("m", a.Method)
	o.text("p", a.Path)
	o.text("q", a.Query)
	o.text("h", a.Host)
	o.text("t", a.Pattern)
	if len(a.Values) > 0 {
		o.texts("v", a.Values)
	}
	o.text("a", a.Remote)
	return o.end()
}

// object is a JSON object that is being written.
type object struct {
	b    []byte
	some bool // there is a member before
}

func (o *object) name(name string) {
	if o.some {
		o.b = append(o.b, ',')
	}
	o.some = true
	o.b = append(appendText(o.b, name), ':')
}

// text writes a member that is left out where it is empty.
func (o *object) text(name, value string) {
	if value != "" {
		o.name(name)
		o.b = appendText(o.b, value)
	}
}

// flag writes a member that is left out where it is false.
func (o *object) flag(name string, value bool) {
	if value {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) texts(name string, values []string) {
	o.name(name)
	if values == nil {
		o.b = append(o.b, "null"...)
		return
	}
	o.b = append(o.b, '[')
	for i, v := range values {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendText(o.b, v)
	}
	o.b = append(o.b, ']')
}

func (o *object) end() []byte { return append(o.b, '}') }

// appendText appends s, which is UTF-8, as a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // of a string it does not fail
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
