package signature

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxFields bounds the JSON fields of a scheme, which has five places for one
// beside its Keys, and maxDepth the keys of a path.
const (
	maxFields = 8
	maxDepth  = 8
)

// fieldSet is the fields that are read from a body, in one pass and without
// decoding the rest.
type fieldSet struct {
	paths [][]string
	names []string // the paths as they were declared
}

// fieldValues has a value for each path of a fieldSet: a JSON string with its
// quotes, a number, or nil.
type fieldValues [maxFields][]byte

// fieldTexts has the text of each.
type fieldTexts [maxFields]string

func (f *fieldSet) add(name string) {
	if slices.Contains(f.names, name) {
		return
	}
	f.names = append(f.names, name)
	f.paths = append(f.paths, strings.Split(name, "."))
}

// read sets the texts of the fields that doc has, none if it is no object.
func (f *fieldSet) read(doc []byte, texts *fieldTexts) {
	if len(f.paths) == 0 {
		return
	}
	var values fieldValues
	if end, ok := f.walk(doc, &values); !ok || skipSpace(doc, end) != len(doc) {
		return
	}
	// All that need no work share one piece of memory.
	var plain strings.Builder
	size := 0
	for i, v := range values {
		if at(v, 0) == '"' {
			v = v[1 : len(v)-1]
			if bytes.IndexByte(v, '\\') >= 0 {
				texts[i], _ = unescape(v)
				v = nil
			}
		}
		values[i] = v
		size += len(v)
	}
	plain.Grow(size)
	for i, v := range values {
		if len(v) > 0 {
			start := plain.Len()
			plain.Write(v)
			texts[i] = plain.String()[start:]
		}
	}
}

// walk goes through the members of doc and of those objects in it that a path
// leads into, and skips the rest. It returns the position behind the object.
func (f *fieldSet) walk(doc []byte, values *fieldValues) (end int, ok bool) {
	i := skipSpace(doc, 0)
	if at(doc, i) != '{' {
		return i, false
	}
	i = skipSpace(doc, i+1)
	// The objects that are open, with the paths, a bit for each, that lead so far.
	var wanted [maxDepth]uint
	wanted[0] = 1<<len(f.paths) - 1
	depth, closes := 0, at(doc, i) == '}'
	for {
		if !closes {
			start := i
			var escaped bool
			if i, escaped, ok = skipString(doc, i); !ok {
				return i, false
			}
			key := jsonKey{doc[start+1 : i-1], escaped}
			if i = skipSpace(doc, i); at(doc, i) != ':' {
				return i, false
			}
			i = skipSpace(doc, i+1)
			first := at(doc, i)
			ends, deeper := f.match(key, depth, wanted[depth], values)
			if deeper != 0 && first == '{' {
				i = skipSpace(doc, i+1)
				depth++
				wanted[depth], closes = deeper, at(doc, i) == '}'
				continue
			}
			value := i
			if i, ok = skipValue(doc, i); !ok {
				return i, false
			}
			if ends >= 0 && (first == '"' || isNumber(doc[value:i])) {
				values[ends] = doc[value:i]
			}
		}
		// Behind a value, or before the end of an empty object.
		i = skipSpace(doc, i)
		switch at(doc, i) {
		case ',':
			i, closes = skipSpace(doc, i+1), false
		case '}':
			if i++; depth == 0 {
				return i, true
			}
			depth, closes = depth-1, true
		default:
			return i, false
		}
	}
}

// match returns which of the wanted paths end at key (-1: none), and which lead on
// into its value. Of a key that stands there twice the last one counts: what an
// earlier one gave is forgotten.
func (f *fieldSet) match(key jsonKey, depth int, wanted uint, values *fieldValues) (ends int, deeper uint) {
	ends = -1
	for n, path := range f.paths {
		if wanted&(1<<n) == 0 || !key.is(path[depth]) {
			continue
		}
		values[n] = nil
		if depth+1 == len(path) {
			ends = n
		} else {
			deeper |= 1 << n
		}
	}
	return ends, deeper
}

// jsonKey is a key of an object as it is spelt between its quotes.
type jsonKey struct {
	spelt   []byte
	escaped bool // whether there is a backslash in it
}

// is reports whether the key is name.
func (k jsonKey) is(name string) bool {
	if !k.escaped {
		return string(k.spelt) == name
	}
	key, ok := unescape(k.spelt)
	return ok && key == name
}

// unescape resolves the escapes of a JSON string, and says whether all have a
// meaning. Half a surrogate pair has none: encoding/json makes the same
// replacement character of each, so that two ids would become one.
func unescape(s []byte) (string, bool) {
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		if s[0] != '\\' {
			b = append(b, s[0])
			s = s[1:]
			continue
		}
		switch at(s, 1) {
		case '"', '\\', '/':
			b = append(b, s[1])
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, size := unicodeEscape(s)
			if size == 0 {
				return "", false
			}
			b = utf8.AppendRune(b, r)
			s = s[size:]
			continue
		default:
			return "", false
		}
		s = s[2:]
	}
	return string(b), true
}

// unicodeEscape returns the character that \uXXXX at the start of s stands for, or
// two of them for one outside the basic plane, and the length of it all; 0 if
// there is none.
func unicodeEscape(s []byte) (r rune, size int) {
	r, ok := hexEscape(s)
	switch {
	case !ok:
		return 0, 0
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	low, ok := hexEscape(s[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func hexEscape(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	return rune(n), err == nil
}
