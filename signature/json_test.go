package signature

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// fieldOf returns the text of one field of doc.
func fieldOf(doc, path string) string {
	var f fieldSet
	var texts fieldTexts
	f.add(path)
	f.read([]byte(doc), &texts)
	return texts[0]
}

func TestJSON(t *testing.T) {
	for _, test := range []struct{ name, doc, path, want string }{
		{"first", `{"id":"a","x":1}`, "id", "a"},
		{"last", `{"x":[1,{"id":"no"}],"id":"a"}`, "id", "a"},
		{"an object with an id before it", `{"data":{"id":"no"},"id":"a"}`, "id", "a"},
		{"white space everywhere", " {\n\t\"id\" : \r\"a\" , \"x\" : { } } \n", "id", "a"},
		{"twice: the last counts", `{"id":"a","id":"b"}`, "id", "b"},
		{"twice: the last is none", `{"id":"a","id":null}`, "id", ""},
		{"nested twice: the last counts", `{"e":{"id":"a"},"e":{"x":1}}`, "e.id", ""},
		{"another case is another key", `{"ID":"a","Id":"b"}`, "id", ""},
		{"escaped key", `{"\u0069\u0064":"a"}`, "id", "a"},
		{"escaped key that is another", `{"i\td":"a","id\u0000":"b"}`, "id", ""},
		{"key with a quote", `{"\"id":"no","id":"a"}`, "id", "a"},
		{"value that looks like a key", `{"x":"\"id\":\"no\"","id":"a"}`, "id", "a"},
		{"backslash before the quote", `{"x":"\\","id":"a\\"}`, "id", `a\`},
		{"escaped quote at the end", `{"id":"\""}`, "id", `"`},
		{"escaped quote after seven", `{"id":"1234567\"x","x":"12345678"}`, "id", `1234567"x`},
		{"escapes", `{"id":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00"}`, "id", "\"\\/\b\f\n\r\tä😀"},
		{"NUL", `{"id":"a\u0000b"}`, "id", "a\x00b"},
		{"first half of a pair", `{"id":"a\ud800"}`, "id", ""},
		{"second half of a pair", `{"id":"a\udc00"}`, "id", ""},
		{"two first halves", `{"id":"\ud800\ud800"}`, "id", ""},
		{"half a pair and an escape", `{"id":"\ud800\n"}`, "id", ""},
		{"raw UTF-8", `{"id":"ä😀"}`, "id", "ä😀"},
		{"raw bytes that are not UTF-8", "{\"id\":\"a\xff\"}", "id", "a\xff"},
		{"number, as it is spelt", `{"id":12345678901234567890}`, "id", "12345678901234567890"},
		{"number with an exponent", `{"id":-1.50e+3}`, "id", "-1.50e+3"},
		{"true", `{"id":true}`, "id", ""},
		{"null", `{"id":null}`, "id", ""},
		{"object", `{"id":{"id":"no"}}`, "id", ""},
		{"array", `{"id":["no"]}`, "id", ""},
		{"empty", `{"id":""}`, "id", ""},
		{"missing", `{}`, "id", ""},
		{"path", `{"event":{"data":{},"id":"a"},"id":"no"}`, "event.id", "a"},
		{"path through an empty object", `{"event":{},"id":"no"}`, "event.id", ""},
		{"path through a string", `{"event":"id"}`, "event.id", ""},
		{"path that ends at an object and goes on", `{"event":{"id":"a"}}`, "event", ""},
		{"key with a dot is no path", `{"event.id":"no"}`, "event.id", ""},
		{"nested as deep as it is long", `{"x":` + strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5) + `,"id":"a"}`, "id", "a"},

		{"array of objects", `[{"id":"no"}]`, "id", ""},
		{"string", `"id"`, "id", ""},
		{"nothing", ``, "id", ""},
		{"cut short", `{"id":"a"`, "id", ""},
		{"cut short in the value", `{"id":"a`, "id", ""},
		{"cut short after the key", `{"id":`, "id", ""},
		{"something behind it", `{"id":"a"}x`, "id", ""},
		{"comma at the end", `{"id":"a",}`, "id", ""},
		{"no colon", `{"id" "a"}`, "id", ""},
		{"no quotes", `{id:"a"}`, "id", ""},
		{"quotes of another kind", `{'id':'a'}`, "id", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, fieldOf(test.doc, test.path))
		})
	}
}

func TestJSON_SeveralFields(t *testing.T) {
	var f fieldSet
	for _, path := range []string{"id", "e.id", "e.type", "e", "id"} {
		f.add(path)
	}
	require.Equal(t, []string{"id", "e.id", "e.type", "e"}, f.names)
	var texts fieldTexts
	f.read([]byte(`{"e":{"type":"t","id":2,"e":{"type":"no"}},"id":"1"}`), &texts)
	require.Equal(t, fieldTexts{"1", "2", "t", ""}, texts)
}

// reference is what encoding/json finds at path, and whether it is exact.
func reference(doc []byte, path string) (text string, exact bool) {
	for key := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(doc, &object) != nil {
			return "", true
		}
		doc = object[key]
	}
	doc = bytes.TrimSpace(doc)
	if len(doc) == 0 || !strings.ContainsRune(`"-0123456789`, rune(doc[0])) {
		return "", true
	}
	if doc[0] != '"' {
		return string(doc), true
	}
	if json.Unmarshal(doc, &text) != nil {
		return "", true
	}
	return text, utf8.Valid(doc) && !strings.ContainsRune(text, utf8.RuneError)
}

// nestedByByte is what skipNested is to find, one byte after the other: -1 if
// there is no end.
func nestedByByte(doc []byte) int {
	depth, inside := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case c == '"':
			inside = !inside
		case inside && c == '\\':
			i++
		case inside:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func requireNested(t testing.TB, doc []byte) {
	t.Helper()
	want := nestedByByte(doc)
	end, ok := skipNested(doc, 0)
	require.Equal(t, want >= 0, ok, "%q", doc)
	if ok {
		require.Equal(t, want, end, "%q", doc)
	}
}

// Whatever stands across the border of two words is found as if there were none.
func TestSkipNested_AtEachOffset(t *testing.T) {
	for _, doc := range []string{
		`{"a":"}"}`, `{"a":"\"}","b":"\\"}`, `{"a":"\\\"}"}`, `{"\\":"\\\\"}`, `{"a":"\\\\\\\\\\\\\\\\\\\""}`, `{"a":"\u007d\"\u0022}"}`,
		`{"a":"{[","b":[{},[],[[{}]]]}`, `{}`, `[]`, `[{"Y":1,"_":"y"},"Y_y"]`, `[Y]`, "{\"\xfb\xfd\xa2\xdc\":\"\xdb\"}",
		`{"long":"` + strings.Repeat("{", 40) + `"}`, `{\"a":"}","b":1}`, `[\\"]"]`, `[\]`, `[          \"          ]"]`, `[          \\"          ]"]`, `["\\\"]"]`, `{"a":"\`, `{"a":"}`, `[[[[[[[[[]]]]]]]]`, `{`, `["\"`,
	} {
		for before := range 17 {
			for _, behind := range []string{"", "}", `,"b":"}"}]`, strings.Repeat(" ", 9)} {
				requireNested(t, []byte("["+strings.Repeat(" ", before)+doc+"]"+behind))
				requireNested(t, []byte(`{"`+strings.Repeat("x", before)+`":`+doc+"}"+behind))
			}
		}
	}
}

// Of anything, skipNested finds the end that a look at each byte finds.
func FuzzSkipNested(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"}\"]"}],"c":"\\"}}`))
	f.Add([]byte(`[{},{"Y_y":[]},"\\\\\\\"]"]`))
	f.Add([]byte("{\"a\":\"\xa2\xdc\\\xa2\"}"))
	f.Add([]byte(`{\"a":"}"}`))
	f.Fuzz(func(t *testing.T, rest []byte) {
		requireNested(t, append([]byte("{"), rest...))
	})
}

// randomJSON appends a value as encoding/json takes it: with white space, escapes
// and equal keys.
func randomJSON(r *rand.Rand, doc []byte, depth int) []byte {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	text := func() string {
		s := ""
		for range r.IntN(4) {
			s += pick(`\"`, `\\`, `{`, `}`, `[`, `]`, `:`, `,`, `ä`, `\u0022`, `\u00e4`, `word`, `a longer text`, `😀`)
		}
		return s
	}
	if depth == 0 {
		return append(doc, pick("1", "-2.5e3", "true", "null", `"`+text()+`"`)...)
	}
	object := r.IntN(3) > 0
	doc = append(doc, map[bool]string{true: "{", false: "["}[object]...)
	for i := range r.IntN(5) {
		if i > 0 {
			doc = append(doc, pick(",", " , ", ",\n  ")...)
		}
		if object {
			doc = append(doc, pick(`"id"`, `"event"`, `"i\u0064"`, `"x"`, `"`+text()+`"`)+pick(":", " : ", ": ")...)
		}
		doc = randomJSON(r, doc, r.IntN(depth))
	}
	return append(doc, pick("", " ", "\n")+map[bool]string{true: "}", false: "]"}[object]...)
}

// Of JSON that is made at random, fields are what encoding/json finds.
func TestJSON_AsEncodingJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 20_000 {
		doc := randomJSON(r, nil, 6)
		require.True(t, json.Valid(doc), "%s", doc)
		for _, path := range []string{"id", "event.id", "event.event.id"} {
			got := fieldOf(string(doc), path)
			want, exact := reference(doc, path)
			require.True(t, exact, "%s", doc)
			require.Equal(t, want, got, "%s of %s", path, doc)
			if got != "" {
				found++
			}
		}
		cut := r.IntN(len(doc))
		require.Empty(t, fieldOf(string(doc[:cut]), "id"), "%s", doc[:cut])
		require.Empty(t, fieldOf(string(doc)+"}", "id"), "%s", doc)
	}
	require.Greater(t, found, 1000)
}

// Of valid JSON, fields are what encoding/json finds. Of the rest, some answer
// comes, and in time.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"id":"evt_1NG8Du2eZvKYlo2CUI79vXWy","object":"event","api_version":"2019-02-19","created":1700000000,"data":{"object":{"id":"seti_1NG8Du2eZvKYlo2C9XMqbR0x","object":"setup_intent"}},"livemode":false,"pending_webhooks":0,"type":"setup_intent.created"}`,
		`{"event":{"id":"01DEN4HPBQAAAG05V5QQYBRZMF","event_type":"incident.priority_updated"}}`,
		`{"id":"a","id":{"id":1},"event":{"id":2},"event":3}`,
		`{"\u0069d":"\ud83d\ude00\ud800","event":{"\"":"\\","id":"x"}}`,
		"{\"id\":\"\xff\",\"event\":{\"id\":\"\xfe\"}}",
		`{"id":-0.1e5 , "event" : { "id" : [ ] } }`,
		`[]`, `{}`, `{"event":{}}`, `{"event":{"id":"a"},"id":`, `"`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, path := range []string{"id", "event.id"} {
			got := fieldOf(string(doc), path)
			if !json.Valid(doc) {
				continue
			}
			if want, exact := reference(doc, path); exact {
				require.Equal(t, want, got, "%s of %q", path, doc)
			}
		}
	})
}
