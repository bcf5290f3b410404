package signature

import (
	"encoding/base64"
	"encoding/hex"
)

// Encoding is how a signature is written.
type Encoding uint8

// The encodings.
const (
	Hex    Encoding = iota // in lower case
	Base64                 // standard alphabet, padded
)

func (e Encoding) String() string {
	if e == Base64 {
		return "Base64"
	}
	return "Hex"
}

// length returns how many characters n bytes have.
func (e Encoding) length(n int) int {
	if e == Base64 {
		return base64.StdEncoding.EncodedLen(n)
	}
	return hex.EncodedLen(n)
}

func (e Encoding) append(dst, sig []byte) []byte {
	if e == Base64 {
		return base64.StdEncoding.AppendEncode(dst, sig)
	}
	return hex.AppendEncode(dst, sig)
}

// decode sets sig to the bytes that text spells, and says whether it does so as
// append would: decoders also take upper case, newlines and odd last bits.
func (e Encoding) decode(sig []byte, text string) bool {
	if len(text) != e.length(len(sig)) {
		return false
	}
	decode := hex.DecodeString
	if e == Base64 {
		decode = base64.StdEncoding.DecodeString
	}
	b, err := decode(text)
	if err != nil || len(b) != len(sig) || string(e.append(nil, b)) != text {
		return false
	}
	copy(sig, b)
	return true
}
