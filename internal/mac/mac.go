// Package mac computes HMACs without allocating: a key is prepared once, and its
// hash states are used again.
package mac

import (
	"crypto/hmac"
	"crypto/subtle"
	"hash"
	"strconv"
	"sync"
)

// MaxEncoded is the longest MAC in text: SHA-512 in hexadecimal.
const MaxEncoded = 128

// Key is a prepared HMAC key. Safe for concurrent use.
type Key struct {
	states sync.Pool // *State
}

// NewKey prepares key for the hash that newHash makes.
func NewKey(newHash func() hash.Hash, key []byte) *Key {
	k := &Key{}
	k.states.New = func() any {
		return &State{key: k, mac: hmac.New(newHash, key)}
	}
	return k
}

// Begin returns a state for one message, which is given back by End.
func (k *Key) Begin() *State {
	s := k.states.Get().(*State) //nolint:errcheck // the pool's own New makes nothing else
	s.mac.Reset()
	return s
}

// State is one message on its way to its MAC.
type State struct {
	key   *Key
	mac   hash.Hash
	text  []byte // what WriteString and WriteInt collect, so that no string is copied to the heap
	sum   [64]byte
	other [MaxEncoded]byte
}

// WriteString adds text to the message.
func (s *State) WriteString(text string) { s.text = append(s.text, text...) }

// WriteInt adds a number in decimal to the message.
func (s *State) WriteInt(n int64) { s.text = strconv.AppendInt(s.text, n, 10) }

// Write adds bytes to the message.
func (s *State) Write(b []byte) {
	s.flush()
	s.mac.Write(b)
}

// Sum returns the MAC; it is valid until End.
func (s *State) Sum() []byte {
	s.flush()
	return s.mac.Sum(s.sum[:0])
}

// Equal returns 1 if text is what expected spells, else 0, in a time that tells
// nothing of where they differ.
func (s *State) Equal(text string, expected []byte) int {
	if len(text) != len(expected) {
		return 0
	}
	n := copy(s.other[:], text)
	return subtle.ConstantTimeCompare(s.other[:n], expected)
}

// End gives the state back; it is not to be used afterwards.
func (s *State) End() {
	clear(s.sum[:])
	s.key.states.Put(s)
}

func (s *State) flush() {
	if len(s.text) > 0 {
		s.mac.Write(s.text)
		s.text = s.text[:0]
	}
}
