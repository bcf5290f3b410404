package webhook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

func TestSecret_NeverShowsItsValue(t *testing.T) {
	const value = "whsec_TopSecretValue"
	for name, s := range map[string]webhook.Secret{
		"with an ID": {ID: "k1", Value: value, Tenant: "acme"},
		"without":    {Value: value},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r := &webhook.Request{Secrets: []webhook.Secret{s}}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
				fmt.Fprintf(&out, verb+"\n", s)
				fmt.Fprintf(&out, verb+"\n", &s)
				fmt.Fprintf(&out, verb+"\n", r.Secrets)
				fmt.Fprintf(&out, verb+"\n", r)
				fmt.Fprintf(&out, verb+"\n", *r)
				fmt.Fprintf(&out, verb+"\n", map[string]webhook.Secret{"k": s})
			}
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				slog.New(h).Info("x", "secret", s, "secrets", r.Secrets, "request", r)
			}
			b, err := json.Marshal([]any{s, &s, r.Secrets})
			require.NoError(t, err)
			out.Write(b)

			require.NotContains(t, out.String(), "TopSecret")
			require.NotContains(t, out.String(), fmt.Sprintf("%x", value))
			require.Contains(t, out.String(), s.String())
		})
	}
}

func TestSecret_Fingerprint(t *testing.T) {
	a, b := webhook.Secret{Value: "a"}, webhook.Secret{Value: "b"}
	require.Equal(t, a.String(), webhook.Secret{Value: "a", Tenant: "other"}.String())
	require.NotEqual(t, a.String(), b.String())
	require.Equal(t, "empty", webhook.Secret{}.String())
	require.Equal(t, "named", webhook.Secret{ID: "named", Value: "a"}.String())
}
