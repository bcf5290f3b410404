package signature_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	. "github.com/surehook/webhook/signature"
)

// The key pair of Svix's documentation, whose signature is among the vectors:
// https://github.com/svix/svix-webhooks/blob/main/README.md
const (
	privateKey = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	publicKey  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	symmetric  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

var sentAt = time.Unix(1_700_000_000, 0)

func standardVerifier(tb testing.TB, secrets ...string) webhook.Verifier {
	tb.Helper()
	s := families["standard_webhooks"]
	s.Name = "standard"
	v, err := s.Verifier(secrets...)
	require.NoError(tb, err)
	return v
}

// signedWith is a request that v signed with secrets.
func signedWith(tb testing.TB, v webhook.Verifier, secrets ...string) *webhook.Request {
	tb.Helper()
	r := &webhook.Request{Method: http.MethodPost, Body: []byte(`{"type":"x"}`), Time: sentAt}
	for _, s := range secrets {
		r.Secrets = append(r.Secrets, webhook.Secret{Value: s})
	}
	require.NoError(tb, v.Sign(r, webhook.Event{ID: "msg_1"}))
	return r
}

func accepts(tb testing.TB, v webhook.Verifier, r *webhook.Request) {
	tb.Helper()
	events, err := v.Verify(tb.Context(), r)
	require.NoError(tb, err)
	require.Len(tb, events, 1)
}

// refuses requires that v refuses r, and returns why.
func refuses(tb testing.TB, v webhook.Verifier, r *webhook.Request, sentinel error) string {
	tb.Helper()
	events, err := v.Verify(tb.Context(), r)
	require.ErrorIs(tb, err, sentinel)
	require.Nil(tb, events)
	return err.Error()
}

// Each kind of secret checks signatures of its own version, and no other.
func TestEd25519_NoDowngrade(t *testing.T) {
	all := standardVerifier(t)
	v1 := signedWith(t, all, symmetric)
	v1a := signedWith(t, all, privateKey)
	both := signedWith(t, all, symmetric, privateKey)
	require.True(t, strings.HasPrefix(v1.Header.Get("Webhook-Signature"), "v1,"))
	require.True(t, strings.HasPrefix(v1a.Header.Get("Webhook-Signature"), "v1a,"))

	for _, secret := range []string{publicKey, privateKey} {
		v := standardVerifier(t, secret)
		accepts(t, v, v1a)
		accepts(t, v, both)
		require.Contains(t, refuses(t, v, v1, webhook.ErrSignature), `no entry that begins with "v1a,"`)
	}
	v := standardVerifier(t, symmetric)
	accepts(t, v, v1)
	accepts(t, v, both)
	require.Contains(t, refuses(t, v, v1a, webhook.ErrSignature), `no entry that begins with "v1,"`)

	v = standardVerifier(t, symmetric, publicKey)
	accepts(t, v, v1)
	accepts(t, v, v1a)
}

// Whoever knows the public key cannot sign with its bytes as an HMAC's key,
// whatever version the signature claims to have.
func TestEd25519_NoKeyConfusion(t *testing.T) {
	public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(publicKey, "whpk_"))
	require.NoError(t, err)
	for _, key := range [][]byte{public, []byte(publicKey)} {
		forged := signedWith(t, standardVerifier(t), "whsec_"+base64.StdEncoding.EncodeToString(key))
		v := standardVerifier(t, publicKey)
		refuses(t, v, forged, webhook.ErrSignature)
		sig := strings.TrimPrefix(forged.Header.Get("Webhook-Signature"), "v1,")
		for _, prefix := range []string{"v1a,", "", "v1,v1a,"} {
			forged.Header.Set("Webhook-Signature", prefix+sig)
			refuses(t, v, forged, webhook.ErrSignature)
		}
	}
}

// A signature of ed25519 has one spelling, as an HMAC has.
func TestEd25519_Spelling(t *testing.T) {
	v := standardVerifier(t, publicKey)
	r := signedWith(t, v, privateKey)
	header := r.Header.Get("Webhook-Signature")
	sig := strings.TrimPrefix(header, "v1a,")
	raw, err := base64.StdEncoding.DecodeString(sig)
	require.NoError(t, err)
	accepts(t, v, r)

	// The order of the group, in little endian: S + L fits the same equation.
	order := []byte{
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
	}
	malleable := append([]byte(nil), raw...)
	carry := 0
	for i, b := range order {
		sum := int(malleable[32+i]) + int(b) + carry
		malleable[32+i], carry = byte(sum), sum>>8
	}
	require.Zero(t, carry)

	for name, spelt := range map[string]string{
		"another S":           base64.StdEncoding.EncodeToString(malleable),
		"no padding":          strings.TrimRight(sig, "="),
		"odd last bits":       sig[:85] + string(sig[85]+1) + "==",
		"newline inside":      sig[:40] + "\n" + sig[40:],
		"newline for padding": sig[:86] + "\n\n",
		"URL alphabet":        base64.URLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 64))),
		"cut short":           base64.StdEncoding.EncodeToString(raw[:63]),
		"longer":              base64.StdEncoding.EncodeToString(append(raw, 0)),
		"one bit":             base64.StdEncoding.EncodeToString(append([]byte{raw[0] ^ 1}, raw[1:]...)),
		"zeros":               base64.StdEncoding.EncodeToString(make([]byte, 64)),
		"hexadecimal":         fmt.Sprintf("%x", raw),
		"twice":               sig + sig,
		"nothing":             "",
	} {
		require.NotEqual(t, sig, spelt, name)
		r.Header.Set("Webhook-Signature", "v1a,"+spelt)
		refuses(t, v, r, webhook.ErrSignature)
	}
	r.Header.Set("Webhook-Signature", "v1a,"+sig)
	accepts(t, v, r)
}

// Hexadecimal is taken in lower case alone, and all that is signed is covered.
func TestEd25519_Hexadecimal(t *testing.T) {
	s := families["discord"]
	s.Name = "discord"
	for public, private := range privateKeys {
		if strings.HasPrefix(public, "whpk_") {
			continue
		}
		v, err := s.Verifier(public)
		require.NoError(t, err)
		r := signedWith(t, v, private)
		accepts(t, v, r)
		sig := r.Header.Get(s.Header)
		r.Header.Set(s.Header, strings.ToUpper(sig))
		require.Contains(t, refuses(t, v, r, webhook.ErrSignature), "upper-case")
		r.Header.Set(s.Header, sig)
		r.Header.Set("X-Signature-Timestamp", "1700000001")
		refuses(t, v, r, webhook.ErrSignature)
		r.Header.Set("X-Signature-Timestamp", "1700000000")
		r.Body[0] ^= 1
		refuses(t, v, r, webhook.ErrSignature)
	}
}

// Each signature costs a hash of the body: a forger gets few.
func TestEd25519_AtMostFour(t *testing.T) {
	v := standardVerifier(t, publicKey)
	r := signedWith(t, v, privateKey)
	genuine := r.Header.Get("Webhook-Signature")
	other := "v1a," + base64.StdEncoding.EncodeToString(make([]byte, 64))

	r.Header.Set("Webhook-Signature", strings.Repeat(other+" ", 3)+genuine)
	accepts(t, v, r)
	r.Header.Set("Webhook-Signature", strings.Repeat(other+" ", 4)+genuine)
	require.Contains(t, refuses(t, v, r, webhook.ErrSignature), "more than 4 signatures of ed25519")

	// Those of HMAC beside them do not count.
	r.Header.Set("Webhook-Signature", strings.Repeat("v1,AAAA ", 20)+genuine)
	accepts(t, v, r)
}

func TestEd25519_SigningNeedsThePrivateKey(t *testing.T) {
	v := standardVerifier(t, publicKey)
	r := &webhook.Request{Body: []byte("{}"), Secrets: []webhook.Secret{{Value: publicKey}}}
	require.ErrorContains(t, v.Sign(r, webhook.Event{ID: "msg_1"}), "only the sender's private key signs")
	require.Empty(t, r.Header.Get("Webhook-Signature"))
}

func TestStandardKey(t *testing.T) {
	zeros := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, test := range []struct{ secret, says string }{
		{"", "is empty"},
		{"whpk_", "has 0 bytes after whpk_"},
		{"whpk_" + zeros, "all zeros"},
		{"whpk_" + strings.TrimPrefix(privateKey, "whsk_"), "has 64 bytes after whpk_"},
		{"whsk_" + strings.TrimPrefix(publicKey, "whpk_"), "has 32 bytes after whsk_"},
		{"whsk_" + base64.StdEncoding.EncodeToString(make([]byte, 64)), "second half is not its public key"},
		{strings.Replace(privateKey, "Kvg==", "Kvh==", 1), "is not base64 after whsk_"},
		{strings.TrimPrefix(publicKey, "whpk_"), "has no prefix"},
		{publicKey + "\n", "white space"},
	} {
		s := families["standard_webhooks"]
		s.Name = "standard"
		_, err := s.Verifier(test.secret)
		require.ErrorContains(t, err, test.says, test.secret)
		if len(test.secret) > 10 {
			require.NotContains(t, err.Error(), test.secret[5:])
		}
	}
}

// Keys of a wrong length are refused when they are configured: crypto/ed25519
// would panic at the first request.
func TestKey_Length(t *testing.T) {
	ones := bytes.Repeat([]byte{1}, 65)
	for _, test := range []struct {
		key  Key
		says string
	}{
		{Key{}, "gives an empty key"},
		{HMAC(nil), "gives an empty key"},
		{Ed25519Public(nil), "public key of 0 bytes: expected 32"},
		{Ed25519Public(ones[:31]), "public key of 31 bytes: expected 32"},
		{Ed25519Public(ones[:64]), "public key of 64 bytes: expected 32"},
		{Ed25519Private(nil), "private key of 0 bytes: expected 64"},
		{Ed25519Private(ones[:32]), "private key of 32 bytes: expected 64"},
		{Ed25519Private(ones), "private key of 65 bytes: expected 64"},
	} {
		s := Scheme{Name: "acme", Header: "Acme-Signature", Key: func(string) (Key, error) { return test.key, nil }}
		_, err := s.Verifier("x")
		require.ErrorContains(t, err, "secret 1 of 1 gives an")
		require.ErrorContains(t, err, test.says)
	}
}

func TestKey_ShowsNothing(t *testing.T) {
	const secret = "correct horse"
	for _, key := range []Key{HMAC([]byte(secret)), Ed25519Public([]byte(secret)), Ed25519Private([]byte(secret))} {
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&log, verb+"\n", key)
		}
		require.NotContains(t, log.String(), secret)
		require.NotContains(t, log.String(), fmt.Sprintf("%x", secret))
		require.NotContains(t, log.String(), "99 111 114") // the bytes in decimal
		require.Contains(t, log.String(), " key")
	}
}

func TestNewSecret(t *testing.T) {
	secret := NewSecret()
	require.NotEqual(t, secret, NewSecret())
	v := standardVerifier(t, secret)
	accepts(t, v, signedWith(t, v, secret))
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(t, err)
	require.Len(t, raw, 32)
}

func TestNewKeyPair(t *testing.T) {
	private, public := NewKeyPair()
	other, _ := NewKeyPair()
	require.NotEqual(t, private, other)
	v := standardVerifier(t, public)
	accepts(t, v, signedWith(t, v, private))
	refuses(t, v, signedWith(t, v, other), webhook.ErrSignature)
}
