package provider_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// Only the spelling that the sender itself produces is accepted, though another
// might decode to the same bytes.
func TestPresets_SignatureSpelling(t *testing.T) {
	for _, test := range []struct {
		name  string
		only  func(s sender) bool
		spell func(sig string) string
	}{
		{"first character changed", nil, func(s string) string { return string(s[0]^1) + s[1:] }},
		{"last character changed", sender.hex, func(s string) string { return s[:len(s)-1] + string(s[len(s)-1]^1) }},
		{"last byte changed", sender.base64, func(s string) string { return s[:len(s)-3] + string(s[len(s)-3]^1) + s[len(s)-2:] }},
		{"truncated", nil, func(s string) string { return s[:len(s)-2] }},
		{"half", nil, func(s string) string { return s[:len(s)/2] }},
		{"one character", nil, func(s string) string { return s[:1] }},
		{"over-long", nil, func(s string) string { return s + "00" }},
		{"twice", nil, func(s string) string { return s + s }},
		{"upper case", nil, strings.ToUpper},
		{"one digit in upper case", sender.hex, func(s string) string {
			i := strings.IndexAny(s, "abcdef")
			return s[:i] + strings.ToUpper(s[i:i+1]) + s[i+1:]
		}},
		{"behind 0x", sender.hex, func(s string) string { return "0x" + s }},
		{"base64 without padding", sender.base64, func(s string) string { return strings.TrimRight(s, "=") }},
		{"base64 with more padding", sender.base64, func(s string) string { return s + "=" }},
		{"base64 with bits that are not used", sender.base64, func(s string) string {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
			last := strings.IndexByte(alphabet, s[len(s)-2])
			return s[:len(s)-2] + alphabet[last+1:last+2] + "="
		}},
		{"URL alphabet", sender.base64, strings.NewReplacer("+", "-", "/", "_").Replace},
		{"base64 over two lines", sender.base64, func(s string) string { return s[:20] + "\r\n" + s[20:] }},
		{"the right MAC in base64", sender.hex, func(s string) string {
			mac, _ := hex.DecodeString(s)
			return base64.StdEncoding.EncodeToString(mac)
		}},
		{"the right MAC in hexadecimal", sender.base64, func(s string) string {
			mac, _ := base64.StdEncoding.DecodeString(s)
			return hex.EncodeToString(mac)
		}},
		{"the right MAC raw", sender.base64, func(s string) string {
			mac, _ := base64.StdEncoding.DecodeString(s)
			return string(mac)
		}},
		{"trailing newline", nil, func(s string) string { return s + "\n" }},
		{"leading newline", nil, func(s string) string { return "\n" + s }},
		{"leading space", nil, func(s string) string { return " " + s }},
		{"in quotes", nil, func(s string) string { return `"` + s + `"` }},
		{"full-width digits", nil, func(s string) string {
			return strings.Map(func(r rune) rune {
				if '0' <= r && r <= '9' {
					return r - '0' + '０'
				}
				return r
			}, s)
		}},
		{"NUL in place of the last", nil, func(s string) string { return s[:len(s)-1] + "\x00" }},
		{"NUL behind it", nil, func(s string) string { return s + "\x00" }},
		{"nothing but padding", nil, func(s string) string { return strings.Repeat("=", len(s)) }},
		{"nothing but zeros", nil, func(s string) string { return strings.Repeat("0", len(s)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, test.only, func(t *testing.T, s sender) {
				// Not each signature has a digit, a letter or a slash.
				for i := range 100 {
					body := s.body(fmt.Sprint("evt_", i))
					sig := s.sign(s.secrets[0], "evt_1", unix(now), body)
					spelt := test.spell(sig)
					if spelt == sig {
						continue
					}
					r := s.request(s.secrets[0], "evt_1", unix(now), body)
					accepted(t, s.verifier(t, s.secrets[0]), r)
					s.replace(r, s.version+spelt)
					refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrSignature)
					return
				}
				require.Fail(t, "no signature is spelt in another way")
			})
		})
	}
}
