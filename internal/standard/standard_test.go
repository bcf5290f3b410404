package standard

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A key that is accepted is written in one way only; one that is refused is not
// shown.
func FuzzParseSecret(f *testing.F) {
	for _, seed := range []string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"whsec_plJ3nmyCDGBKInavdOK15jsl",
		"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
		"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir5=",
		"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
		"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"whsec_", "whsec_whsec_", "whpk_", "", "\n", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZI\no2LaLaSw", "whsec_" + strings.Repeat("=", 32),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		prefix, key, err := ParseSecret(secret)
		if err != nil {
			require.Nil(t, key)
			require.Empty(t, prefix)
			if len(secret) > len(PrefixSecret)+24 {
				require.NotContains(t, err.Error(), secret)
			}
			return
		}
		require.Equal(t, secret, FormatSecret(prefix, key))
		switch prefix {
		case PrefixSecret:
			require.GreaterOrEqual(t, len(key), 24)
			require.LessOrEqual(t, len(key), 64)
		case PrefixPublic:
			require.Len(t, key, 32)
		case PrefixPrivate:
			require.Len(t, key, 64)
		default:
			t.Fatal("a prefix that is none")
		}
	})
}
