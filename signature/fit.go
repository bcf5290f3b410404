package signature

import (
	"crypto/ed25519"
	"strings"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/internal/mac"
)

// maxEd25519 bounds the ed25519 signatures that one request may have tried. Each
// costs a hash of the whole body, where an HMAC is computed once and compared
// with all. A sender that rotates has two.
const maxEd25519 = 4

// form is what tells the signatures of an algorithm among the entries.
type form struct {
	prefix  string
	size    int // in bytes
	encoded int // in characters, without the prefix
}

// count returns how many entries have the form.
func (f form) count(claim *claim) int {
	n := 0
	for _, e := range claim.entries() {
		if sig, ok := strings.CutPrefix(e, f.prefix); ok && len(sig) == f.encoded {
			n++
		}
	}
	return n
}

// key is a Key that is ready for use. Safe for concurrent use.
type key struct {
	form    form               // of its signatures
	mac     *mac.Key           // HMAC
	public  ed25519.PublicKey  // else
	private ed25519.PrivateKey // its other half, where that is known
}

// key returns the key of a secret: a prepared one, or a new one.
func (c *checker) key(secret string) (*key, error) {
	if k := c.keys[secret]; k != nil {
		return k, nil
	}
	return c.newKey(secret)
}

func (c *checker) newKey(secret string) (*key, error) {
	of, err := c.Key(secret)
	if err == nil {
		err = of.check()
	}
	if err != nil {
		return nil, err
	}
	switch of.algorithm {
	case algorithmPublic:
		return &key{form: c.ed25519, public: of.bytes}, nil
	case algorithmPrivate:
		return &key{form: c.ed25519, private: of.bytes, public: of.bytes[ed25519.SeedSize:]}, nil
	default:
		return &key{form: c.hmac, mac: mac.NewKey(c.Hash.New, of.bytes)}, nil
	}
}

// fits reports whether one of the signatures is that of key.
func (c *checker) fits(k *key, r *webhook.Request, claim *claim) bool {
	if k.mac == nil {
		return c.fitsEd25519(k, r, claim)
	}
	s := k.mac.Begin()
	defer s.End()
	var buf [mac.MaxEncoded]byte
	expected := c.sum(s, buf[:0], r.Body, claim)
	fit := 0
	for _, e := range claim.entries() {
		// All of them are compared, whichever fits.
		if sig, ok := strings.CutPrefix(e, k.form.prefix); ok {
			fit |= s.Equal(sig, expected)
		}
	}
	return fit == 1
}

// fitsEd25519 is fits for a public key: there is no secret that time could tell.
func (c *checker) fitsEd25519(k *key, r *webhook.Request, claim *claim) bool {
	if k.form.count(claim) > maxEd25519 {
		return false
	}
	var message []byte
	for _, e := range claim.entries() {
		var sig [ed25519.SignatureSize]byte
		if text, ok := strings.CutPrefix(e, k.form.prefix); !ok || !c.Encoding.decode(sig[:], text) {
			continue
		}
		if message == nil {
			message = c.message(r.Body, claim)
		}
		if ed25519.Verify(k.public, message, sig[:]) {
			return true
		}
	}
	return false
}

// sum appends to dst the HMAC of what is signed, as it is spelt.
func (c *checker) sum(s *mac.State, dst, b []byte, claim *claim) []byte {
	for i, p := range c.Signed {
		switch p.kind {
		case text:
			s.WriteString(p.name)
		case body:
			s.Write(b)
		default:
			s.WriteString(claim.values[i])
		}
	}
	return c.Encoding.append(dst, s.Sum())
}

// message returns what is signed, in one piece.
func (c *checker) message(b []byte, claim *claim) []byte {
	if len(c.Signed) == 1 {
		return b // Body is always among the parts
	}
	size := len(b)
	for i, p := range c.Signed {
		size += len(p.name) + len(claim.values[i])
	}
	m := make([]byte, 0, size)
	for i, p := range c.Signed {
		switch p.kind {
		case text:
			m = append(m, p.name...)
		case body:
			m = append(m, b...)
		default:
			m = append(m, claim.values[i]...)
		}
	}
	return m
}

// signature returns an entry with k's signature.
func (c *checker) signature(k *key, b []byte, claim *claim) string {
	entry := []byte(k.form.prefix)
	if k.mac == nil {
		return string(c.Encoding.append(entry, ed25519.Sign(k.private, c.message(b, claim))))
	}
	s := k.mac.Begin()
	defer s.End()
	return string(c.sum(s, entry, b, claim))
}
