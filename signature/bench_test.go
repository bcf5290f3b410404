package signature_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
)

const benchSecret = "a secret of a sender"

// benchBody is a body of 1 KiB as senders write it.
func benchBody() []byte {
	const item = `{"sku":"A-1047","name":"cable \"flat\"","count":2,"price":{"amount":1990,"currency":"EUR"}},`
	body := `{"id":"evt_1NG8Du2eZvKYlo2CUI79vXWy","created":1700000000,"items":[`
	for len(body)+len(item) < 980 {
		body += item
	}
	body = strings.TrimSuffix(body, ",") + `],"type":"order.paid","note":"`
	return []byte(body + strings.Repeat("x", 1024-len(body)-2) + `"}`)
}

// BenchmarkBareHMAC is what no check can do without: a prepared HMAC of the same
// bytes, compared in constant time.
func BenchmarkBareHMAC(b *testing.B) {
	fits := bareHMAC(benchBody())
	b.ReportAllocs()
	for b.Loop() {
		if !fits() {
			b.Fatal("does not fit")
		}
	}
}

// BenchmarkLeast is what no Verify can do without, before it has found anything
// out: the same HMAC, a look at each header, an event, and a map with the two
// headers that it keeps.
func BenchmarkLeast(b *testing.B) {
	fits := bareHMAC(benchBody())
	h := benchHeader()
	h["Acme-Id"], h["Acme-Time"], h["Acme-Signature"] = []string{"1"}, []string{"1"}, []string{"00"}
	b.ReportAllocs()
	for b.Loop() {
		events := make([]webhook.Event, 1)
		for name, values := range h {
			if name == "Content-Type" || name == "User-Agent" {
				if events[0].Headers == nil {
					events[0].Headers = http.Header{}
				}
				events[0].Headers[name] = values
			}
		}
		if leastEvents = events; !fits() {
			b.Fatal("does not fit")
		}
	}
}

// leastEvents keeps them on the heap.
var leastEvents []webhook.Event

// bareHMAC returns a check of the signature of body.
func bareHMAC(body []byte) func() bool {
	h := hmac.New(sha256.New, []byte(benchSecret))
	h.Write(body)
	signature := hex.EncodeToString(h.Sum(nil))
	given := make([]byte, 0, 64)
	var sum [32]byte
	var expected [64]byte
	return func() bool {
		h.Reset()
		h.Write(body)
		hex.Encode(expected[:], h.Sum(sum[:0]))
		return hmac.Equal(expected[:], append(given[:0], signature...))
	}
}

func benchHeader() http.Header {
	return http.Header{
		"Content-Type":    {"application/json"},
		"Content-Length":  {"1024"},
		"User-Agent":      {"Acme/1.0"},
		"Accept-Encoding": {"gzip"},
	}
}

func BenchmarkVerify(b *testing.B) {
	at := time.Unix(1700000000, 0)
	for _, bench := range []struct {
		name   string
		scheme signature.Scheme
	}{
		{"id in a signed header", signature.Scheme{
			Name: "acme", Header: "Acme-Signature",
			Signed: []signature.Part{signature.Header("Acme-Id"), signature.Text("."), signature.Header("Acme-Time"), signature.Text("."), signature.Body()},
			Sent:   signature.Seconds(signature.Header("Acme-Time")),
			ID:     signature.Header("Acme-Id"),
		}},
		{"id, type and time in the body", signature.Scheme{
			Name: "acme", Header: "Acme-Signature", Separator: ",", Prefix: "v1=",
			Signed: []signature.Part{signature.Entry("t="), signature.Text("."), signature.Body()},
			Sent:   signature.Seconds(signature.Entry("t=")),
			ID:     signature.JSON("id"),
			Type:   signature.JSON("type"),
			Time:   signature.Seconds(signature.JSON("created")),
		}},
		{"id not signed: digest of the body", signature.Scheme{
			Name: "acme", Header: "Acme-Signature",
			ID: signature.Header("Acme-Id"),
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			v, err := bench.scheme.Verifier(benchSecret)
			require.NoError(b, err)
			r := &webhook.Request{
				Method: http.MethodPost, Body: benchBody(), Time: at,
				Header:  benchHeader(),
				Secrets: []webhook.Secret{{Value: benchSecret}},
			}
			require.NoError(b, v.Sign(r, webhook.Event{ID: "evt_1NG8Du2eZvKYlo2CUI79vXWy"}))
			b.SetBytes(int64(len(r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
