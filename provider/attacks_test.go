package provider_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

func TestPresets_Genuine(t *testing.T) {
	for _, s := range senders {
		t.Run(s.preset, func(t *testing.T) {
			e := accepted(t, s.verifier(t, s.secrets[0]), s.genuine())
			require.Equal(t, "evt_1", e.ID)
			require.Equal(t, s.body("evt_1"), string(e.Body))
			require.NotEmpty(t, e.Type)
			require.True(t, e.Proof.ID)
			require.True(t, e.Proof.Type)
			require.Empty(t, e.Proof.Keys, "a signed id needs no replay key")
			require.NotEmpty(t, e.Proof.SecretID)
			require.NotContains(t, s.secrets[0], e.Proof.SecretID)
			require.Equal(t, http.Header{"Content-Type": {"application/json"}}, e.Headers)
		})
	}
}

// What is wrong with a signature header, beside the signature itself.
func TestPresets_SignatureHeader(t *testing.T) {
	for _, test := range []struct {
		name string
		spin func(s sender, r *webhook.Request, sig string)
		want error
		says string
	}{
		{"none", func(s sender, r *webhook.Request, _ string) {
			r.Header.Del(s.header)
		}, webhook.ErrSignature, "is missing"},
		{"none, and another sender's", func(s sender, r *webhook.Request, sig string) {
			r.Header.Del(s.header)
			r.Header.Set("X-Hub-Signature-256", "sha256="+sig)
		}, webhook.ErrSignature, "looks like a request of GitHub"},
		{"empty", func(s sender, r *webhook.Request, _ string) {
			r.Header.Set(s.header, "")
		}, webhook.ErrSignature, "is missing or empty"},
		{"of an unknown version", func(s sender, r *webhook.Request, sig string) {
			replaceSignature(s, r, "v9"+s.version[2:]+sig)
		}, webhook.ErrSignature, "has no entry that begins with"},
		{"downgrade: the right MAC as another version", func(s sender, r *webhook.Request, sig string) {
			replaceSignature(s, r, s.other+sig)
		}, webhook.ErrSignature, "has no entry that begins with"},
		{"prefix alone", func(s sender, r *webhook.Request, _ string) {
			replaceSignature(s, r, s.version)
		}, webhook.ErrSignature, ""},
		{"no prefix", func(s sender, r *webhook.Request, sig string) {
			replaceSignature(s, r, sig)
		}, webhook.ErrSignature, ""},
		{"ten thousand", func(s sender, r *webhook.Request, sig string) {
			replaceSignature(s, r, strings.Repeat(s.version+"00"+s.separator, 9_999)+s.version+sig)
		}, webhook.ErrMalformed, "more than 32"},
		{"ten thousand lines", func(s sender, r *webhook.Request, _ string) {
			for range 9_999 {
				r.Header.Add(s.header, r.Header.Get(s.header))
			}
		}, webhook.ErrMalformed, "more than 32"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range senders {
				t.Run(s.preset, func(t *testing.T) {
					r := s.genuine()
					test.spin(s, r, s.sign(s.secrets[0], "evt_1", unix(now), s.body("evt_1")))
					require.Contains(t, refused(t, s.verifier(t, s.secrets[0]), r, test.want), test.says)
				})
			}
		})
	}
}

// replaceSignature sets the signatures of r, and leaves the rest of its headers.
func replaceSignature(s sender, r *webhook.Request, signatures ...string) {
	s.set(r.Header, r.Header.Get("Webhook-Id"), unix(now), signatures...)
}

// Only the spelling that the sender itself produces is accepted.
func TestPresets_SignatureSpelling(t *testing.T) {
	for _, test := range []struct {
		name  string
		spell func(sig string) string
	}{
		{"one character changed", func(s string) string {
			return string(s[0]^1) + s[1:]
		}},
		{"last character changed", func(s string) string {
			return s[:len(s)-2] + string(s[len(s)-2]^1) + s[len(s)-1:]
		}},
		{"truncated", func(s string) string { return s[:len(s)-2] }},
		{"half", func(s string) string { return s[:len(s)/2] }},
		{"over-long", func(s string) string { return s + "00" }},
		{"twice", func(s string) string { return s + s }},
		{"upper case", strings.ToUpper},
		{"base64 without padding", func(s string) string { return strings.TrimRight(s+"=", "=") + "A"[:1-strings.Count(s, "=")] }},
		{"URL alphabet", func(s string) string { return strings.NewReplacer("+", "-", "/", "_", "a", "-").Replace(s) }},
		{"trailing newline", func(s string) string { return s + "\n" }},
		{"leading newline", func(s string) string { return "\n" + s }},
		{"full-width digits", func(s string) string {
			return strings.Map(func(r rune) rune {
				if '0' <= r && r <= '9' {
					return r - '0' + '０'
				}
				return r
			}, s) + "０"
		}},
		{"the other encoding", func(s string) string { return hex.EncodeToString([]byte(s))[:64] }},
		{"NUL", func(s string) string { return s[:len(s)-1] + "\x00" }},
		{"nothing but padding", func(s string) string { return strings.Repeat("=", len(s)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range senders {
				t.Run(s.preset, func(t *testing.T) {
					r := s.genuine()
					sig := s.sign(s.secrets[0], "evt_1", unix(now), s.body("evt_1"))
					spelt := test.spell(sig)
					require.NotEqual(t, sig, spelt)
					replaceSignature(s, r, s.version+spelt)
					refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature)
				})
			}
		})
	}
}

func TestPresets_SeveralSignatures(t *testing.T) {
	wrong := strings.Repeat("0", 44)
	for _, test := range []struct {
		name       string
		signatures func(s sender, sig string) []string
	}{
		{"the first fits", func(s sender, sig string) []string { return []string{s.version + sig, s.version + wrong} }},
		{"the last fits", func(s sender, sig string) []string { return []string{s.version + wrong, s.version + sig} }},
		{"beside another version's", func(s sender, sig string) []string { return []string{s.other + wrong, s.version + sig} }},
		{"the last of 31", func(s sender, sig string) []string {
			return append(strings.Split(strings.Repeat(s.version+wrong+"|", 30)+s.version+sig, "|"), nil...)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range senders {
				t.Run(s.preset, func(t *testing.T) {
					r := s.genuine()
					sig := s.sign(s.secrets[0], "evt_1", unix(now), s.body("evt_1"))
					replaceSignature(s, r, test.signatures(s, sig)...)
					accepted(t, s.verifier(t, s.secrets[0]), r)
				})
			}
		})
	}
	t.Run("in two lines of the header", func(t *testing.T) {
		for _, s := range senders {
			t.Run(s.preset, func(t *testing.T) {
				r := s.genuine()
				good := r.Header.Get(s.header)
				replaceSignature(s, r, s.version+wrong)
				r.Header.Add(s.header, good)
				accepted(t, s.verifier(t, s.secrets[0]), r)
			})
		}
	})
}

func TestPresets_Timestamp(t *testing.T) {
	ms := strconv.FormatInt(now.UnixMilli(), 10)
	for _, test := range []struct {
		name, timestamp string
		want            error
		says            string
	}{
		{"missing", "", webhook.ErrSignature, "missing"},
		{"no number", "soon", webhook.ErrMalformed, "not decimal seconds"},
		{"negative", "-1700000000", webhook.ErrMalformed, "not decimal seconds"},
		{"with a sign", "+1700000000", webhook.ErrMalformed, "not decimal seconds"},
		{"exponent", "1e9", webhook.ErrMalformed, "not decimal seconds"},
		{"hexadecimal", "0x6553f100", webhook.ErrMalformed, "not decimal seconds"},
		{"leading zero", "01700000000", webhook.ErrMalformed, "not decimal seconds"},
		{"inner space", "1700 000000", webhook.ErrMalformed, "not decimal seconds"},
		{"zero", "0", webhook.ErrMalformed, "not decimal seconds"},
		{"full-width digits", "１７００００００００", webhook.ErrMalformed, "not decimal seconds"},
		{"above int64", "99999999999999999999", webhook.ErrMalformed, "not decimal seconds"},
		{"wraps around int64", "18446744075409551616", webhook.ErrMalformed, "not decimal seconds"},
		{"largest", "999999999999999999", webhook.ErrStale, "looks like milliseconds"},
		{"milliseconds", ms, webhook.ErrStale, "looks like milliseconds"},
		{"long ago", "1", webhook.ErrStale, "before it arrived"},
		{"six minutes old", unix(now.Add(-6 * time.Minute)), webhook.ErrStale, "6m0s before it arrived"},
		{"six minutes ahead", unix(now.Add(6 * time.Minute)), webhook.ErrStale, "6m0s after it arrived"},
		{"a second too old", unix(now.Add(-301 * time.Second)), webhook.ErrStale, "5m1s before it arrived"},
		{"a second too far ahead", unix(now.Add(301 * time.Second)), webhook.ErrStale, "5m1s after it arrived"},
		{"five minutes old", unix(now.Add(-5 * time.Minute)), nil, ""},
		{"five minutes ahead", unix(now.Add(5 * time.Minute)), nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range senders {
				t.Run(s.preset, func(t *testing.T) {
					v := s.verifier(t, s.secrets[0])
					r := s.request(s.secrets[0], "evt_1", test.timestamp, s.body("evt_1"))
					if test.want == nil {
						accepted(t, v, r)
						return
					}
					require.Contains(t, refused(t, v, r, test.want), test.says)
				})
			}
		})
	}
}

// The tolerance of a verifier may be changed, and the time of arrival is the
// request's: a stored one can be checked later.
func TestPresets_Tolerance(t *testing.T) {
	for _, s := range senders {
		t.Run(s.preset, func(t *testing.T) {
			v := s.verifier(t, s.secrets[0])
			old := s.request(s.secrets[0], "evt_1", unix(now.Add(-time.Hour)), s.body("evt_1"))
			refused(t, v, old, webhook.ErrStale)

			stored := *old
			stored.Time = now.Add(-time.Hour)
			accepted(t, v, &stored)

			v.Tolerance = 2 * time.Hour
			accepted(t, v, old)
			v.Tolerance = -1
			old.Time = now.AddDate(1, 0, 0)
			accepted(t, v, old)
			v.Tolerance = time.Second
			refused(t, v, old, webhook.ErrStale)
		})
	}
}

// What somebody on the way may change.
func TestPresets_Tampering(t *testing.T) {
	for _, test := range []struct {
		name string
		spin func(s sender, r *webhook.Request)
	}{
		{"body: one byte", func(_ sender, r *webhook.Request) { r.Body[10] ^= 1 }},
		{"body: a newline behind it", func(_ sender, r *webhook.Request) { r.Body = append(r.Body, '\n') }},
		{"body: serialised again", func(_ sender, r *webhook.Request) {
			r.Body = []byte(strings.ReplaceAll(string(r.Body), ":", ": "))
		}},
		{"body: empty", func(_ sender, r *webhook.Request) { r.Body = nil }},
		{"timestamp changed, not what is signed", func(s sender, r *webhook.Request) {
			later := unix(now.Add(time.Minute))
			for name := range r.Header {
				r.Header.Set(name, strings.ReplaceAll(r.Header.Get(name), unix(now), later))
			}
		}},
		{"what is signed changed, not the timestamp", func(s sender, r *webhook.Request) {
			later := unix(now.Add(time.Minute))
			replaceSignature(s, r, s.version+s.sign(s.secrets[0], "evt_1", later, string(r.Body)))
		}},
		{"signed with another secret", func(s sender, r *webhook.Request) {
			replaceSignature(s, r, s.version+s.sign(s.secrets[1], "evt_1", unix(now), string(r.Body)))
		}},
		{"replayed under another id", func(s sender, r *webhook.Request) {
			r.Header.Set("Webhook-Id", "evt_2")
			r.Body = []byte(strings.ReplaceAll(string(r.Body), "evt_1", "evt_2"))
			if s.preset == "standard_webhooks" {
				require.NotContains(t, string(r.Body), "evt_")
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range senders {
				t.Run(s.preset, func(t *testing.T) {
					r := s.genuine()
					test.spin(s, r)
					says := refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature)
					require.Contains(t, says, "secrets tried: 1, signatures: 1")
				})
			}
		})
	}
}

// Ids are taken as they are, whatever they hold, or the request is refused: two
// never become one.
func TestPresets_OddIDs(t *testing.T) {
	long := strings.Repeat("x", 4096)
	for _, test := range []struct {
		name, preset, id, spelt string // spelt: in JSON
		want                    error
	}{
		{"NUL", "stripe", "a\x00b", `a\u0000b`, nil},
		{"newline", "stripe", "a\nb", `a\nb`, nil},
		{"invalid UTF-8", "stripe", "a\xffb", "a\xffb", nil},
		{"other invalid UTF-8", "stripe", "a\xfeb", "a\xfeb", nil},
		{"as long as may be", "stripe", long, long, nil},
		{"too long", "stripe", long + "x", long + "x", webhook.ErrMalformed},
		{"10 kB", "stripe", strings.Repeat("x", 10_000), strings.Repeat("x", 10_000), webhook.ErrMalformed},
		{"invalid UTF-8", "standard_webhooks", "a\xffb", "", nil},
		{"as long as may be", "standard_webhooks", long, "", nil},
		{"too long", "standard_webhooks", long + "x", "", webhook.ErrMalformed},
		{"10 kB", "standard_webhooks", strings.Repeat("x", 10_000), "", webhook.ErrMalformed},
		{"a dot, which ends it in what is signed", "standard_webhooks", "msg_1.1700000000", "", webhook.ErrMalformed},
	} {
		t.Run(test.preset+"/"+test.name, func(t *testing.T) {
			for _, s := range senders {
				if s.preset != test.preset {
					continue
				}
				body := s.body(test.id)
				if test.spelt != "" {
					body = `{"id":"` + test.spelt + `"}`
				}
				r := s.request(s.secrets[0], test.id, unix(now), body)
				v := s.verifier(t, s.secrets[0])
				if test.want != nil {
					require.NotContains(t, refused(t, v, r, test.want), test.id)
					return
				}
				require.Equal(t, test.id, accepted(t, v, r).ID)
			}
		})
	}
}

// A signed header that stands there twice has no value.
func TestStandardWebhooks_HeaderTwice(t *testing.T) {
	s := senders[0]
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp"} {
		r := s.genuine()
		r.Header.Add(name, r.Header.Get(name))
		require.Contains(t, refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrMalformed), name)
	}
}

func TestStripe_TwoTimestamps(t *testing.T) {
	s := senders[1]
	r := s.genuine()
	r.Header.Set(s.header, "t=1,"+r.Header.Get(s.header))
	refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrMalformed)
}

// The headers of another family of the same scheme are not mixed in.
func TestStandardWebhooks_SvixHeaders(t *testing.T) {
	s := senders[0]
	r := s.genuine()
	r.Header.Set("Svix-Signature", r.Header.Get(s.header))
	r.Header.Del(s.header)
	require.Contains(t, refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature), "Svix")
}

// A body that the sender compressed is checked as it came, and never inflated.
func TestPresets_CompressedBody(t *testing.T) {
	for _, s := range senders {
		t.Run(s.preset, func(t *testing.T) {
			body := "\x1f\x8b\x08\x00not looked into"
			r := s.request(s.secrets[0], "evt_1", unix(now), body)
			r.Header.Set("Content-Encoding", "gzip")
			e := accepted(t, s.verifier(t, s.secrets[0]), r)
			require.Equal(t, body, string(e.Body))
			require.Equal(t, "gzip", e.Headers.Get("Content-Encoding"))
		})
	}
}

// An authentic request is not refused for what is in it: that would be retried
// for days.
func TestStripe_NotJSON(t *testing.T) {
	s := senders[1]
	for i, body := range []string{"payload", "", "[]", `{"id":`, `{"id":17,"type":null}`, `{"object":{"id":"x"}}`} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			e := accepted(t, s.verifier(t, s.secrets[0]), s.request(s.secrets[0], "", unix(now), body))
			require.NotEmpty(t, e.ID)
			require.Empty(t, e.Type)
			require.True(t, e.Time.IsZero())
			require.False(t, e.Proof.Type)
			require.False(t, e.Proof.Time)
		})
	}
}
