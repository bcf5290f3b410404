package signature

import (
	"encoding/binary"
	"math/bits"
)

// This file finds where the values of a JSON text end. Most of a body is passed
// over, eight bytes at a time: whether one of them is a quote is found by
// arithmetic on the word that they are (Hacker's Delight, section 6-1), without a
// branch for each, since no processor foresees those of a JSON text.
const (
	ones  = 0x0101010101010101 // 1 in each byte of a word
	highs = ones << 7          // the highest bit of each, in which answers are given
)

// masks are variables: the compiler would load constants anew for each word.
var masks = struct{ lows, quote, backslash uint64 }{^uint64(highs), '"' * ones, '\\' * ones}

func skipValue(doc []byte, i int) (int, bool) {
	switch at(doc, i) {
	case '"':
		i, _, ok := skipString(doc, i)
		return i, ok
	case '{', '[':
		return skipNested(doc, i)
	}
	start := i
	for i < len(doc) && !isSpace(doc[i]) && doc[i] != ',' && doc[i] != '}' && doc[i] != ']' {
		i++
	}
	return i, i > start
}

// skipString returns the position behind the string that begins at i, and whether
// there is a backslash in it.
func skipString(doc []byte, i int) (end int, escaped, ok bool) {
	if at(doc, i) != '"' {
		return i, false, false
	}
	i++
	for i+8 <= len(doc) {
		w := binary.LittleEndian.Uint64(doc[i:])
		special := firstLike(w, '"') | firstLike(w, '\\')
		if special == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(special) / 8
		if doc[i] == '"' {
			return i + 1, escaped, true
		}
		escaped = true
		i += 2 // what is escaped ends no string
	}
	for ; i < len(doc); i++ {
		switch doc[i] {
		case '"':
			return i + 1, escaped, true
		case '\\':
			escaped = true
			i++
		}
	}
	return len(doc), escaped, false
}

// firstLike returns a word whose lowest bit stands in the first byte of w that is
// c, and 0 if none is: Hacker's Delight, section 6-1.
func firstLike(w uint64, c byte) uint64 {
	w ^= ones * uint64(c)
	return (w - ones) &^ w & highs
}

// skipNested returns the position behind the object or array that begins at i. It
// does not recurse: a body may be nested as deep as it is long. Braces and square
// brackets are not told apart: they are counted, as is enough for valid JSON.
func skipNested(doc []byte, i int) (int, bool) {
	lows, quote, backslash := masks.lows, masks.quote, masks.backslash
	depth := 1           // objects and arrays that are open
	inside := uint64(0)  // all bits while a string is open
	escaped := uint64(0) // of the word's first byte, if a backslash stands before it
	i++
	for i <= len(doc)-8 {
		w := binary.LittleEndian.Uint64(doc[i : i+8])
		low, ascii := w&lows, ^w&^lows
		quotes := ascii &^ ((low ^ quote) + lows)
		backslashes := ascii &^ ((low ^ backslash) + lows)
		before := escaped
		if backslashes|escaped != 0 {
			var literal uint64
			backslashes, literal, escaped = escapes(backslashes, escaped)
			quotes &^= literal
		}
		if quotes == 0 && inside != 0 {
			i += 8
			continue
		}
		// How many quotes there are up to each byte; if odd, that byte is inside of
		// a string where this one is not.
		count := (quotes >> 7) * ones
		outside := ascii &^ (count<<7 ^ inside)
		// A first look takes "Y", "_" and "y" for brackets too, which no JSON has
		// outside of strings, and no backslashes either.
		if outside&(backslashes|^((low|0x26*ones)^lows+lows)) != 0 {
			// "[" and "{" differ in one bit, "]" and "}" in the same.
			folded := low | 0x20*ones
			opens := outside &^ ((folded ^ '{'*ones) + lows)
			closes := outside &^ ((folded ^ '}'*ones) + lows)
			n := bits.OnesCount64(closes)
			if n >= depth || outside&backslashes != 0 {
				// It may end here, or there is more to it.
				i, depth, inside = skipBytes(doc, i+int(before>>7), i+8, depth, inside)
				if depth == 0 {
					return i, true
				}
				escaped = 0
				continue
			}
			depth += bits.OnesCount64(opens) - n
		}
		inside ^= -(count >> 56 & 1)
		i += 8
	}
	i, depth, _ = skipBytes(doc, i+int(escaped>>7), len(doc), depth, inside)
	return i, depth == 0
}

// escapes tells the backslashes of a word that escape what follows them from
// those that are escaped, and which bytes are. before is the bit of the first one
// if the word before escapes it, after that of the next word's.
func escapes(backslashes, before uint64) (escaping, escaped, after uint64) {
	escaped = before
	for rest := backslashes &^ before; rest != 0; {
		first := rest & -rest
		escaping |= first
		escaped |= first << 8
		after = first >> 56
		rest &^= first | first<<8
	}
	return escaping, escaped, after
}

// skipBytes is skipNested for the bytes up to end, one by one. It stops behind
// the bracket that makes depth 0; else behind end, or one byte further if that is
// escaped.
func skipBytes(doc []byte, i, end, depth int, inside uint64) (int, int, uint64) {
	for ; i < end; i++ {
		switch c := doc[i]; {
		case c == '"':
			inside = ^inside
		case inside != 0:
			if c == '\\' {
				i++ // what is escaped ends no string
			}
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1, 0, 0
			}
		}
	}
	return i, depth, inside
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && isSpace(doc[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func isNumber(value []byte) bool {
	for _, c := range value {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return false
		}
	}
	return len(value) > 0
}

// at returns the byte at i, 0 behind the end.
func at(doc []byte, i int) byte {
	if i < len(doc) {
		return doc[i]
	}
	return 0
}
