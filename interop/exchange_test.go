package interop_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// message is a signed request before it is sent.
type message struct {
	header http.Header
	body   string
}

// signer signs for a sender, with all of the secrets that its headers have room for.
type signer func(t *testing.T, s sdk, body string, at time.Time, secrets ...string) message

// signers are the two ways to sign: each test of what is accepted runs with both.
var signers = map[string]signer{
	"signed by the SDK": func(t *testing.T, s sdk, body string, at time.Time, secrets ...string) message {
		t.Helper()
		h := s.sign(t, secrets[0], body, at)
		for _, secret := range secrets[1:] {
			entry := s.sign(t, secret, body, at).Get(s.header)
			_, signature, _ := strings.Cut(entry, s.version)
			h.Set(s.header, h.Get(s.header)+s.separator+s.version+signature)
		}
		return message{h, body}
	},
	"signed by the preset": func(t *testing.T, s sdk, body string, at time.Time, secrets ...string) message {
		t.Helper()
		v, err := s.preset()
		require.NoError(t, err)
		r := &webhook.Request{Method: http.MethodPost, Body: []byte(body), Time: at}
		for _, secret := range secrets {
			r.Secrets = append(r.Secrets, webhook.Secret{Value: secret})
		}
		require.NoError(t, v.Sign(r, webhook.Event{ID: s.id, Type: s.typ}))
		return message{r.Header, body}
	},
}

// answer is what a server says.
type answer struct {
	status                 int
	id, typ, secretID, got string
}

// sendToPreset sends m to a server whose route the preset guards.
func (s sdk) sendToPreset(t *testing.T, m message, secrets ...string) answer {
	t.Helper()
	v, err := s.preset(secrets...)
	require.NoError(t, err)
	v.Telemetry.Logger = slog.New(slog.DiscardHandler)
	return send(t, m, webhook.Verify("sender", v)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := webhook.Events(r.Context())[0]
		w.Header().Set("Id", e.ID)
		w.Header().Set("Type", e.Type)
		w.Header().Set("Secret-Id", e.Proof.SecretID)
		io.Copy(w, r.Body) // is there again, for the handler
	})))
}

// sendToSDK sends m to a server that checks with the SDK.
func (s sdk) sendToSDK(t *testing.T, m message, secret string) answer {
	t.Helper()
	return send(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.check(r, secret); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	}))
}

func send(t *testing.T, m message, h http.Handler) answer {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(m.body))
	require.NoError(t, err)
	r.Header = m.header.Clone()
	r.Header.Set("Content-Type", "application/json")
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	got := response.Header
	return answer{response.StatusCode, got.Get("Id"), got.Get("Type"), got.Get("Secret-Id"), string(body)}
}

func TestExchange_Genuine(t *testing.T) {
	for by, sign := range signers {
		t.Run(by, func(t *testing.T) {
			each(t, func(t *testing.T, s sdk) {
				for _, at := range []time.Duration{0, -4 * time.Minute} {
					m := sign(t, s, s.body, time.Now().Add(at), s.secrets[0])

					got := s.sendToPreset(t, m, s.secrets[0])
					require.Equal(t, http.StatusOK, got.status)
					require.Equal(t, s.id, got.id)
					require.Equal(t, s.typ, got.typ)
					require.Equal(t, s.body, got.got, "the handler reads the body as if nobody had")

					require.Equal(t, answer{status: http.StatusOK}, s.sendToSDK(t, m, s.secrets[0]))
				}
			})
		})
	}
}

// Where the body's JSON is spelt otherwise than Go would, the bytes still count.
func TestExchange_OddBodies(t *testing.T) {
	for by, sign := range signers {
		t.Run(by, func(t *testing.T) {
			each(t, func(t *testing.T, s sdk) {
				for _, body := range []string{
					" \r\n" + strings.ReplaceAll(s.body, ":", " :\t") + "\n",
					strings.Replace(s.body, "{", `{"note":"é \u00e9 <&> \ud83d\ude00 😀","amount":1.10,`, 1),
					strings.Replace(s.body, "{", `{"note":"`+strings.Repeat("x", 100_000)+`",`, 1),
				} {
					m := sign(t, s, body, time.Now(), s.secrets[0])
					require.Equal(t, answer{status: http.StatusOK}, s.sendToSDK(t, m, s.secrets[0]))
					got := s.sendToPreset(t, m, s.secrets[0])
					require.Equal(t, http.StatusOK, got.status)
					require.Equal(t, s.id, got.id)
					require.Equal(t, body, got.got)
				}
			})
		})
	}
}

// tampering is a way to make a request that is not genuine. It returns false where
// the sender signs nothing of the kind.
type tampering struct {
	name string
	make func(t *testing.T, s sdk, sign signer) (m message, ok bool)
}

// change is a tampering with a genuine request.
func change(name string, change func(s sdk, m *message) bool) tampering {
	return tampering{name, func(t *testing.T, s sdk, sign signer) (message, bool) {
		t.Helper()
		m := sign(t, s, s.body, time.Now(), s.secrets[0])
		return m, change(s, &m)
	}}
}

var tamperings = []tampering{
	change("a byte of the body", func(_ sdk, m *message) bool {
		b := []byte(m.body)
		b[len(b)/2] ^= 1
		m.body = string(b)
		return true
	}),
	change("a space behind the body", func(_ sdk, m *message) bool {
		m.body += " "
		return true
	}),
	change("the body cut short", func(_ sdk, m *message) bool {
		m.body = m.body[:len(m.body)-1]
		return true
	}),
	change("no body", func(_ sdk, m *message) bool {
		m.body = ""
		return true
	}),
	change("a digit of the signature", func(s sdk, m *message) bool {
		m.header.Set(s.header, flip(m.header.Get(s.header), s.version))
		return true
	}),
	change("the signature cut short", func(s sdk, m *message) bool {
		m.header.Set(s.header, strings.TrimRight(m.header.Get(s.header), "=")[:len(m.header.Get(s.header))-2])
		return true
	}),
	change("another signature", func(s sdk, m *message) bool {
		before, _, _ := strings.Cut(m.header.Get(s.header), s.version)
		m.header.Set(s.header, before+s.wrong())
		return true
	}),
	change("another version's signature", func(s sdk, m *message) bool {
		m.header.Set(s.header, strings.Replace(m.header.Get(s.header), s.version, "v9"+s.version[len(s.version)-1:], 1))
		return true
	}),
	change("an empty signature", func(s sdk, m *message) bool {
		m.header.Set(s.header, "")
		return true
	}),
	change("no signature", func(s sdk, m *message) bool {
		m.header.Del(s.header)
		return true
	}),
	change("another time", func(s sdk, m *message) bool {
		if s.timed == "" {
			return false
		}
		header := m.header.Get(s.timed)
		at := timestamp.FindString(header)
		earlier, err := strconv.Atoi(at)
		m.header.Set(s.timed, strings.Replace(header, at, strconv.Itoa(earlier-1), 1))
		return err == nil
	}),
	change("no time", func(s sdk, m *message) bool {
		if s.timed == "" || s.timed == s.header {
			return false
		}
		m.header.Del(s.timed)
		return true
	}),
	change("another id", func(s sdk, m *message) bool {
		if s.ided == "" {
			return false
		}
		m.header.Set(s.ided, "msg_2")
		return true
	}),
	change("no id", func(s sdk, m *message) bool {
		if s.ided == "" {
			return false
		}
		m.header.Del(s.ided)
		return true
	}),
	{"another secret", func(t *testing.T, s sdk, sign signer) (message, bool) {
		t.Helper()
		return sign(t, s, s.body, time.Now(), s.secrets[2]), true
	}},
	{"signed too long ago", func(t *testing.T, s sdk, sign signer) (message, bool) {
		t.Helper()
		return sign(t, s, s.body, time.Now().Add(-6*time.Minute), s.secrets[0]), s.timed != ""
	}},
	{"signed in the future", func(t *testing.T, s sdk, sign signer) (message, bool) {
		t.Helper()
		return sign(t, s, s.body, time.Now().Add(6*time.Minute), s.secrets[0]), s.timed != ""
	}},
}

// timestamp is one in Unix seconds, the first of its length in each header.
var timestamp = regexp.MustCompile(`\d{10}`)

// flip changes the first character of a signature into another of its alphabet.
func flip(header, version string) string {
	i := strings.Index(header, version) + len(version)
	digit := "0"
	if header[i] == '0' {
		digit = "1"
	}
	return header[:i] + digit + header[i+1:]
}

func TestExchange_Tampered(t *testing.T) {
	for _, test := range tamperings {
		t.Run(test.name, func(t *testing.T) {
			tried := 0
			for by, sign := range signers {
				t.Run(by, func(t *testing.T) {
					each(t, func(t *testing.T, s sdk) {
						m, ok := test.make(t, s, sign)
						if !ok {
							return
						}
						tried++
						got := s.sendToPreset(t, m, s.secrets[0])
						require.Equal(t, http.StatusUnauthorized, got.status)
						require.Equal(t, "signature refused\n", got.got)

						want := http.StatusUnauthorized
						if slices.Contains(s.lax, test.name) {
							want = http.StatusOK
						}
						require.Equal(t, want, s.sendToSDK(t, m, s.secrets[0]).status)
					})
				})
			}
			require.GreaterOrEqual(t, tried, 2*2, "there is nothing that this means")
		})
	}
}
