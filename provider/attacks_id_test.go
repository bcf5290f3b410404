package provider_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// Ids are taken as they are, whatever they hold, or the request is refused: two
// never become one.
func TestPresets_OddIDs(t *testing.T) {
	long := strings.Repeat("x", 4096)
	for _, test := range []struct {
		name, id string
		want     error
	}{
		{"NUL", "a\x00b", nil},
		{"newline", "a\nb", nil},
		{"carriage return and a header", "a\r\nX-Forged: 1", nil},
		{"invalid UTF-8", "a\xffb", nil},
		{"other invalid UTF-8", "a\xfeb", nil},
		{"quotes and a backslash", `a"b\c`, nil},
		{"a separator of keys", "a:b|c/d,e", nil},
		{"full-width", "ｅｖｔ＿１", nil},
		{"as long as may be", long, nil},
		{"too long", long + "x", webhook.ErrMalformed},
		{"10 kB", strings.Repeat("x", 10_000), webhook.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, nil, func(t *testing.T, s sender) {
				v := s.verifier(t, s.secrets[0])
				r := s.request(s.secrets[0], test.id, unix(now), s.bodyWith(t, test.id))
				if test.want != nil {
					require.NotContains(t, refused(t, v, r, test.want), test.id)
					return
				}
				e := accepted(t, v, r)
				require.Equal(t, test.id, e.ID)
				require.Equal(t, s.idSigned, e.Proof.ID)
			})
		})
	}
}

// bodyWith is a body that has id as encoding/json spells it; bytes that are not
// UTF-8 stay, as a careless sender would leave them.
func (s sender) bodyWith(tb testing.TB, id string) string {
	tb.Helper()
	const mark = "the-id-stands-here"
	body := s.body(mark)
	if utf8.ValidString(id) {
		spelt, err := json.Marshal(id)
		require.NoError(tb, err)
		id = string(spelt[1 : len(spelt)-1])
	}
	return strings.Replace(body, mark, id, 1)
}

// In what Standard Webhooks signs a dot ends the id.
func TestStandardWebhooks_DotInID(t *testing.T) {
	for _, preset := range []string{"standard_webhooks", "svix"} {
		s := named(preset)
		r := s.request(s.secrets[0], "msg_1.1700000000", unix(now), s.body("evt_1"))
		require.Contains(t, refused(t, s.verifier(t, s.secrets[0]), r, webhook.ErrMalformed), "ends it in what is signed")
	}
}

// An id that is signed cannot be changed; one that is not says so.
func TestPresets_IDChanged(t *testing.T) {
	each(t, func(s sender) bool { return s.idHeader != "" }, func(t *testing.T, s sender) {
		r := s.genuine()
		v := s.verifier(t, s.secrets[0])
		first := accepted(t, v, r)
		r.Header.Set(s.idHeader, "evt_2")
		if s.idSigned {
			refused(t, v, r, webhook.ErrSignature)
			return
		}
		second := accepted(t, v, r)
		require.Equal(t, "evt_2", second.ID)
		require.False(t, second.Proof.ID)
		require.Equal(t, first.Proof.Keys, second.Proof.Keys, "what makes the two one")
	})
}
