package provider_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// What somebody on the way may change.
func TestPresets_Tampering(t *testing.T) {
	for _, test := range []struct {
		name string
		spin func(s sender, r *webhook.Request)
	}{
		{"one byte", func(_ sender, r *webhook.Request) { r.Body[10] ^= 1 }},
		{"the last byte", func(_ sender, r *webhook.Request) { r.Body[len(r.Body)-1] ^= 1 }},
		{"a newline behind it", func(_ sender, r *webhook.Request) { r.Body = append(r.Body, '\n') }},
		{"a byte order mark before it", func(_ sender, r *webhook.Request) { r.Body = append([]byte("\ufeff"), r.Body...) }},
		{"serialised again", func(_ sender, r *webhook.Request) {
			r.Body = bytes.ReplaceAll(r.Body, []byte(":"), []byte(": "))
		}},
		{"escaped again", func(_ sender, r *webhook.Request) {
			r.Body = bytes.ReplaceAll(r.Body, []byte("t"), []byte(`\u0074`))
		}},
		{"empty", func(_ sender, r *webhook.Request) { r.Body = nil }},
		{"another event's", func(s sender, r *webhook.Request) { r.Body = []byte(s.body("evt_2")) }},
		{"signed with another secret", func(s sender, r *webhook.Request) {
			s.replace(r, s.version+s.sign(s.secrets[1], "evt_1", unix(now), string(r.Body)))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, nil, func(t *testing.T, s sender) {
				r := s.genuine()
				before := string(r.Body) + r.Header.Get(s.header)
				test.spin(s, r)
				require.NotEqual(t, before, string(r.Body)+r.Header.Get(s.header))
				says := refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature)
				require.Contains(t, says, "secrets tried: 1, signatures: 1")
				require.Contains(t, says, "body was changed on its way")
			})
		})
	}
}

// A form is signed as it came, and means the same in several spellings.
func TestPresets_FormBody(t *testing.T) {
	const form = "payload=%7B%22a%22%3A1%7D&text=&q=a+b"
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t, s.secrets[0])
		r := s.request(s.secrets[0], "evt_1", unix(now), form)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		e := accepted(t, v, r)
		require.Equal(t, form, string(e.Body))
		require.Equal(t, "application/x-www-form-urlencoded", e.Headers.Get("Content-Type"))
		for _, again := range []string{
			"payload=%7B%22a%22%3A1%7D&q=a+b&text=",
			"payload=%7B%22a%22%3A1%7D&text=&q=a%20b",
			"payload=%7b%22a%22%3a1%7d&text=&q=a+b",
			`payload={"a":1}&text=&q=a+b`,
			`{"a":1}`,
		} {
			r.Body = []byte(again)
			refused(t, v, r, webhook.ErrSignature)
		}
	})
}

// The limit holds before anything is computed, at its last byte.
func TestPresets_BodyLimit(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		limit := 1 << 20
		if s.preset == "github" {
			limit = 25 << 20
		}
		v := s.verifier(t, s.secrets[0])
		body := strings.Repeat("x", limit)
		accepted(t, v, s.request(s.secrets[0], "evt_1", unix(now), body))
		tooLarge := s.request(s.secrets[0], "evt_1", unix(now), "")
		tooLarge.Body = []byte(body + "x")
		refused(t, v, tooLarge, webhook.ErrTooLarge)
	})
}

// A body that the sender compressed is checked as it came, and never inflated.
func TestPresets_CompressedBody(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		body := "\x1f\x8b\x08\x00not looked into"
		r := s.request(s.secrets[0], "evt_1", unix(now), body)
		r.Header.Set("Content-Encoding", "gzip")
		e := accepted(t, s.verifier(t, s.secrets[0]), r)
		require.Equal(t, body, string(e.Body))
		require.Equal(t, "gzip", e.Headers.Get("Content-Encoding"))
	})
}

// An authentic request is not refused for what is in it: that would be retried
// for days.
func TestPresets_NotJSON(t *testing.T) {
	for i, body := range []string{"payload", "", "[]", `{"id":`, `{"id":17,"event_id":{},"type":null,"event":[]}`, `{"object":{"id":"x"}}`, "\x00\xff"} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			each(t, nil, func(t *testing.T, s sender) {
				e := accepted(t, s.verifier(t, s.secrets[0]), s.request(s.secrets[0], "evt_1", unix(now), body))
				require.NotEmpty(t, e.ID)
				require.Equal(t, body, string(e.Body))
				require.Equal(t, s.typeHeader != "", e.Type != "")
				require.False(t, e.Proof.Type)
				require.False(t, e.Proof.Time)
				if e.ID != "evt_1" && !e.Proof.ID {
					require.NotEmpty(t, e.Proof.Keys)
				}
			})
		})
	}
}
