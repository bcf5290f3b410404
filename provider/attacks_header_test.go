package provider_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// What is wrong with a signature header, beside the spelling of the signature.
func TestPresets_SignatureHeader(t *testing.T) {
	versioned := func(s sender) bool { return s.version != "" }
	alone := func(s sender) bool { return !s.several() }
	for _, test := range []struct {
		name string
		only func(s sender) bool
		spin func(s sender, r *webhook.Request, sig string)
		want error
		says string
	}{
		{"none", nil, func(s sender, r *webhook.Request, _ string) {
			r.Header.Del(s.header)
		}, webhook.ErrSignature, "is missing"},
		{"none, and another sender's", nil, func(s sender, r *webhook.Request, sig string) {
			r.Header.Del(s.header)
			r.Header.Set("Paddle-Signature", "h1="+sig)
		}, webhook.ErrSignature, "looks like a request of Paddle"},
		{"empty", nil, func(s sender, r *webhook.Request, _ string) {
			r.Header.Set(s.header, "")
		}, webhook.ErrSignature, "is missing or empty"},
		{"of an unknown version", versioned, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, "v9"+s.version[2:]+sig)
		}, webhook.ErrSignature, "has no entry that begins with"},
		{"with a version where there is none", func(s sender) bool { return s.version == "" }, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, "v1,"+sig)
		}, webhook.ErrSignature, ""},
		{"downgrade: the right MAC as another version", versioned, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, s.other+sig)
		}, webhook.ErrSignature, ""},
		{"downgrade: SHA-1", nil, func(s sender, r *webhook.Request, _ string) {
			s.replace(r, s.version+s.macWith(sha1.New))
		}, webhook.ErrSignature, "characters"},
		{"SHA-1 of another version", versioned, func(s sender, r *webhook.Request, _ string) {
			s.replace(r, s.other+s.macWith(sha1.New))
		}, webhook.ErrSignature, ""},
		{"SHA-512", nil, func(s sender, r *webhook.Request, _ string) {
			s.replace(r, s.version+s.macWith(sha512.New))
		}, webhook.ErrSignature, "characters"},
		{"no HMAC: the hash of secret and message", nil, func(s sender, r *webhook.Request, _ string) {
			sum := sha256.Sum256([]byte(s.secrets[0] + s.signed("evt_1", unix(now), string(r.Body))))
			s.replace(r, s.version+s.encode(sum[:]))
		}, webhook.ErrSignature, "secrets tried: 1"},
		{"no HMAC: the hash of the message", nil, func(s sender, r *webhook.Request, _ string) {
			sum := sha256.Sum256([]byte(s.signed("evt_1", unix(now), string(r.Body))))
			s.replace(r, s.version+s.encode(sum[:]))
		}, webhook.ErrSignature, "secrets tried: 1"},
		{"prefix alone", versioned, func(s sender, r *webhook.Request, _ string) {
			s.replace(r, s.version)
		}, webhook.ErrSignature, ""},
		{"prefix twice", versioned, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, s.version+s.version+sig)
		}, webhook.ErrSignature, ""},
		{"no prefix", versioned, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, sig)
		}, webhook.ErrSignature, ""},
		{"prefix in upper case", versioned, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, strings.ToUpper(s.version)+sig)
		}, webhook.ErrSignature, ""},
		{"several where there is one alone", alone, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, s.version+sig+","+s.version+sig)
		}, webhook.ErrSignature, ""},
		{"ten thousand", sender.several, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, append(slices.Repeat([]string{s.version + "00"}, 9_999), s.version+sig)...)
		}, webhook.ErrMalformed, "more than 32"},
		{"ten thousand in one", alone, func(s sender, r *webhook.Request, sig string) {
			s.replace(r, strings.Repeat(s.version+"00,", 9_999)+s.version+sig)
		}, webhook.ErrSignature, "characters"},
		{"ten thousand lines", nil, func(s sender, r *webhook.Request, _ string) {
			for range 9_999 {
				r.Header.Add(s.header, r.Header.Get(s.header))
			}
		}, webhook.ErrMalformed, "more than 32"},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, test.only, func(t *testing.T, s sender) {
				r := s.genuine()
				test.spin(s, r, s.sign(s.secrets[0], "evt_1", unix(now), s.body("evt_1")))
				require.Contains(t, refused(t, s.verifier(t, s.secrets[0]), r, test.want), test.says)
			})
		})
	}
}

// macWith is the signature of the genuine request with another hash.
func (s sender) macWith(newHash func() hash.Hash) string {
	h := hmac.New(newHash, s.key(s.secrets[0]))
	h.Write([]byte(s.signed("evt_1", unix(now), s.body("evt_1"))))
	return s.encode(h.Sum(nil))
}

// One signature that fits is enough, beside others: a sender that rotates its
// secret, and a header of several lines.
func TestPresets_SeveralSignatures(t *testing.T) {
	for _, test := range []struct {
		name       string
		only       func(s sender) bool
		signatures func(s sender, wrong, sig string) []string
	}{
		{"the first fits", sender.several, func(s sender, wrong, sig string) []string { return []string{sig, wrong} }},
		{"the last fits", sender.several, func(s sender, wrong, sig string) []string { return []string{wrong, sig} }},
		{"beside another version's", sender.several, func(s sender, wrong, sig string) []string {
			return []string{s.other + wrong[len(s.version):], sig}
		}},
		{"the last of 31", sender.several, func(_ sender, wrong, sig string) []string {
			return append(slices.Repeat([]string{wrong}, 30), sig)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, test.only, func(t *testing.T, s sender) {
				r := s.genuine()
				sig := s.version + s.sign(s.secrets[0], "evt_1", unix(now), s.body("evt_1"))
				s.replace(r, test.signatures(s, s.wrong(), sig)...)
				accepted(t, s.verifier(t, s.secrets[0]), r)
			})
		})
	}
	t.Run("in two lines of the header", func(t *testing.T) {
		each(t, nil, func(t *testing.T, s sender) {
			r := s.genuine()
			good := r.Header.Get(s.header)
			s.replace(r, s.wrong())
			r.Header.Add(s.header, good)
			accepted(t, s.verifier(t, s.secrets[0]), r)
		})
	})
	t.Run("none of two lines fits", func(t *testing.T) {
		each(t, nil, func(t *testing.T, s sender) {
			r := s.genuine()
			s.replace(r, s.wrong())
			r.Header.Add(s.header, r.Header.Get(s.header))
			refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature)
		})
	})
}

// wrong is a signature that is well formed and fits nothing.
func (s sender) wrong() string { return s.version + s.encode(make([]byte, sha256.Size)) }

// A header that is not the signature's and stands there twice has no value: what
// reads the first and what reads the last would differ.
func TestPresets_HeaderTwice(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		for name := range s.genuine().Header {
			if name == s.header || name == "Content-Type" {
				continue
			}
			r := s.genuine()
			r.Header.Add(name, r.Header.Get(name))
			require.Contains(t, refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrMalformed), name)
		}
	})
}

func TestStripe_TwoTimestamps(t *testing.T) {
	s := named("stripe")
	r := s.genuine()
	r.Header.Set(s.header, "t=1,"+r.Header.Get(s.header))
	refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrMalformed)
}

// The headers of another family of the same scheme are not mixed in, whichever
// of the three is another's, even where what is signed would fit.
func TestStandardWebhooks_NamesAreNotMixed(t *testing.T) {
	for _, pair := range [][2]string{{"standard_webhooks", "svix"}, {"svix", "standard_webhooks"}} {
		s, foreign := named(pair[0]), named(pair[1])
		ours, theirs := strings.TrimSuffix(s.header, "Signature"), strings.TrimSuffix(foreign.header, "Signature")
		for mask := 1; mask < 8; mask++ {
			r := s.genuine()
			for i, name := range []string{"Id", "Timestamp", "Signature"} {
				if mask&(1<<i) != 0 {
					r.Header.Set(theirs+name, r.Header.Get(ours+name))
					r.Header.Del(ours + name)
				}
			}
			refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature)
		}
		both := s.genuine()
		foreign.replace(both, foreign.wrong())
		require.NotEmpty(t, both.Header.Get(foreign.header))
		accepted(t, s.verifier(t, s.secrets[0]), both)
	}
}

// "whsec_" means two things: Standard Webhooks decodes what follows, Stripe takes
// all of it as it stands.
func TestPresets_SecretPrefix(t *testing.T) {
	for _, preset := range []string{"stripe", "standard_webhooks", "svix"} {
		s := named(preset)
		secret := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		confused := s
		confused.key = named("standard_webhooks").key
		if preset != "stripe" {
			confused.key = raw
		}
		r := confused.request(secret, "evt_1", unix(now), s.body("evt_1"))
		refused(t, s.verifier(t, secret), r, webhook.ErrSignature)
		accepted(t, s.verifier(t, secret), s.request(secret, "evt_1", unix(now), s.body("evt_1")))
	}
}
