package signature_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	. "github.com/surehook/webhook/signature"
)

func verifierOf(tb testing.TB, s Scheme) webhook.Verifier {
	tb.Helper()
	s.Name = "acme"
	if s.Header == "" {
		s.Header = "Acme-Signature"
	}
	v, err := s.Verifier("secret")
	require.NoError(tb, err)
	return v
}

func hexSHA256(message string) string {
	h := hmac.New(sha256.New, []byte("secret"))
	h.Write([]byte(message))
	return hex.EncodeToString(h.Sum(nil))
}

// A sender that signs nearly everything, written down from its documentation.
func TestScheme_MethodURLTimeBody(t *testing.T) {
	v := verifierOf(t, Scheme{
		Header: "X-Acme-Signature", Separator: ";", Prefix: "s=", Encoding: Base64, Hash: crypto.SHA512,
		Signed: []Part{Method(), Text("\n"), URL(), Text("\n"), Entry("t="), Text("\n"), Body()},
		Sent:   Seconds(Entry("t=")), ID: Header("X-Acme-Id"),
	})
	const target = "https://hooks.example.com/acme?tenant=7"
	h := hmac.New(sha512.New, []byte("secret"))
	h.Write([]byte("POST\n" + target + "\n1700000000\n{}"))
	u, err := url.Parse(target)
	require.NoError(t, err)
	request := func() *webhook.Request {
		return &webhook.Request{
			Method: http.MethodPost, URL: u, Body: []byte("{}"), Time: sentAt,
			Header: http.Header{
				"X-Acme-Id":        {"evt_1"},
				"X-Acme-Signature": {"t=1700000000; s=" + base64.StdEncoding.EncodeToString(h.Sum(nil))},
			},
		}
	}
	events, err := v.Verify(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, "evt_1", events[0].ID)
	require.Len(t, events[0].Proof.Keys, 1, "the id is not signed")

	v.Methods = []string{http.MethodPost, http.MethodPut}
	for name, change := range map[string]func(r *webhook.Request){
		"method": func(r *webhook.Request) { r.Method = http.MethodPut },
		"scheme": func(r *webhook.Request) {
			r.URL = &url.URL{Scheme: "http", Host: u.Host, Path: u.Path, RawQuery: u.RawQuery}
		},
		"host": func(r *webhook.Request) {
			r.URL = &url.URL{Scheme: "https", Host: "evil.example.com", Path: u.Path, RawQuery: u.RawQuery}
		},
		"path": func(r *webhook.Request) {
			r.URL = &url.URL{Scheme: "https", Host: u.Host, Path: "/other", RawQuery: u.RawQuery}
		},
		"query": func(r *webhook.Request) {
			r.URL = &url.URL{Scheme: "https", Host: u.Host, Path: u.Path, RawQuery: "tenant=8"}
		},
	} {
		r := request()
		change(r)
		require.NotContains(t, refuses(t, v, r, webhook.ErrSignature), "missing", name)
	}
}

// What the sender signs and we do not know is our fault, hence 500.
func TestScheme_UnknownURL(t *testing.T) {
	withURL := verifierOf(t, Scheme{Signed: []Part{URL(), Body()}})
	withMethod := verifierOf(t, Scheme{Signed: []Part{Method(), Body()}})
	for _, test := range []struct {
		v    webhook.Verifier
		r    webhook.Request
		says string
	}{
		{withURL, webhook.Request{}, "Request.URL is nil"},
		{withURL, webhook.Request{URL: &url.URL{Path: "/acme"}}, "set Verifier.BaseURL"},
		{withURL, webhook.Request{URL: &url.URL{Host: "example.com", Path: "/acme"}}, "set Verifier.BaseURL"},
		{withMethod, webhook.Request{}, "Request.Method is empty"},
	} {
		test.r.Header = http.Header{"Acme-Signature": {hexSHA256("")}}
		_, err := test.v.Verify(t.Context(), &test.r)
		var answer *webhook.Answer
		require.ErrorAs(t, err, &answer)
		require.Equal(t, http.StatusInternalServerError, answer.Status)
		require.ErrorContains(t, err, test.says)

		test.r.Secrets = []webhook.Secret{{Value: "secret"}}
		require.ErrorContains(t, test.v.Sign(&test.r, webhook.Event{}), test.says)
	}
}

// The spelling of path and query is the sender's, behind proxies and routers.
func TestScheme_URLSpelling(t *testing.T) {
	for _, target := range []string{
		"/", "/acme", "/acme/", "/acme?", "/acme?a=b&c=%7e", "/acme?a=b%20c+d", "/a%2Fb", "/a%2fb", "/%61cme", "/a%7Eb~", "/a",
		"//acme", "/acme//x", "/a/../b", "/a|b", "/a;b=c,d", "/ä", "/%C3%A4", "/a'b(c)*!", "/acme?u=https://x.example/?y", "/a:b@c",
	} {
		for _, base := range []string{"https://hooks.example.com", "https://Hooks.Example.com:443/", "http://example.com/in%2Dbound"} {
			v := verifierOf(t, Scheme{Signed: []Part{URL(), Body()}})
			v.BaseURL = base
			handler := webhook.Verify("acme", v)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			signed := strings.TrimSuffix(base, "/") + target
			for name, h := range map[string]http.Handler{"bare": handler, "stripped": http.StripPrefix("/a", handler)} {
				if name == "stripped" && !strings.HasPrefix(target, "/a") {
					continue
				}
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("{}"))
				r.Header.Set("Acme-Signature", hexSHA256(signed+"{}"))
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code, "%s %s%s", name, base, target)
			}

			p := verifierOf(t, Scheme{Signed: []Part{Path(), Text("\n"), Body()}})
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("{}"))
			r.Header.Set("Acme-Signature", hexSHA256(target+"\n{}"))
			w := httptest.NewRecorder()
			webhook.Verify("acme", p)(http.NotFoundHandler()).ServeHTTP(w, r)
			require.Equal(t, http.StatusNotFound, w.Code, target)
		}
	}
}

// A request line may name a host, and the Host header does: neither is believed.
func TestScheme_HostOfTheRequest(t *testing.T) {
	v := verifierOf(t, Scheme{Signed: []Part{URL(), Body()}})
	send := func(target string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("{}"))
		r.Host = "other.example.com"
		r.Header.Set("Acme-Signature", hexSHA256("https://other.example.com/acme{}")) // captured there
		w := httptest.NewRecorder()
		webhook.Verify("acme", v)(http.NotFoundHandler()).ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusInternalServerError, send("/acme"))
	require.Equal(t, http.StatusInternalServerError, send("https://other.example.com/acme"))
	v.BaseURL = "https://hooks.example.com"
	require.Equal(t, http.StatusUnauthorized, send("/acme"))
	require.Equal(t, http.StatusUnauthorized, send("https://other.example.com/acme"))
	v.BaseURL = "https://other.example.com"
	require.Equal(t, http.StatusNotFound, send("/acme"))
	require.Equal(t, http.StatusNotFound, send("https://evil.example.com/acme"), "the host is ours to say")
}

func TestScheme_HTTPDate(t *testing.T) {
	v := verifierOf(t, Scheme{
		Signed: []Part{Body(), Header("Acme-Date")}, Sent: HTTPDate(Header("Acme-Date")),
	})
	send := func(date string) error {
		r := &webhook.Request{
			Time: sentAt, Body: []byte("{}"), // Tue, 14 Nov 2023 22:13:20 GMT
			Header: http.Header{"Acme-Date": {date}, "Acme-Signature": {hexSHA256("{}" + date)}},
		}
		_, err := v.Verify(t.Context(), r)
		return err
	}
	require.NoError(t, send("Tue, 14 Nov 2023 22:13:20 GMT"))
	require.NoError(t, send("Tue, 14 Nov 2023 22:18:20 GMT"))
	require.ErrorIs(t, send("Tue, 14 Nov 2023 22:18:21 GMT"), webhook.ErrStale)
	require.ErrorIs(t, send("Tue, 14 Nov 2023 22:08:19 GMT"), webhook.ErrStale)
	for _, date := range []string{
		"Mon, 14 Nov 2023 22:13:20 GMT", "tue, 14 nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:20 UTC", "Tue, 14 Nov 2023 22:13:20 +0000",
		"Tuesday, 14-Nov-23 22:13:20 GMT", "Tue Nov 14 22:13:20 2023", "Tue, 14 Nov 2023 22:13:20.5 GMT", "1700000000", " Tue, 14 Nov 2023 22:13:20 GMT",
	} {
		require.ErrorIs(t, send(date), webhook.ErrMalformed, date)
		require.ErrorContains(t, send(date), "is not an HTTP date")
	}
}

// A time that is a field of the body is signed with it.
func TestScheme_SentInTheBody(t *testing.T) {
	v := verifierOf(t, Scheme{Sent: Milliseconds(JSON("webhookTimestamp"))})
	send := func(body string) error {
		_, err := v.Verify(t.Context(), &webhook.Request{
			Time: sentAt, Body: []byte(body), Header: http.Header{"Acme-Signature": {hexSHA256(body)}},
		})
		return err
	}
	require.NoError(t, send(`{"webhookTimestamp":1700000000123}`))
	require.NoError(t, send(`{"webhookTimestamp":"1700000300000"}`))
	require.ErrorIs(t, send(`{"webhookTimestamp":1700000300001}`), webhook.ErrStale)
	require.ErrorIs(t, send(`{"webhookTimestamp":1699999699999}`), webhook.ErrStale)
	require.ErrorContains(t, send(`{"webhookTimestamp":1700000000}`), "looks like seconds")
	for _, body := range []string{
		`{}`, `{"webhookTimestamp":null}`, `{"webhookTimestamp":1.7e12}`, `{"data":{"webhookTimestamp":1700000000123}}`,
		`{"webhookTimestamp":1700000000123`, ``,
	} {
		require.ErrorIs(t, send(body), webhook.ErrMalformed, body)
	}
}

// Values that are used once are known by themselves, apart from one another.
func TestScheme_Keys(t *testing.T) {
	v := verifierOf(t, Scheme{
		Signed: []Part{Header("Acme-Nonce"), Text("."), Body()}, ID: JSON("id"),
		Keys: []Part{Header("Acme-Nonce"), JSON("token"), JSON("data.token")},
	})
	keys := func(nonce, body string) [][]byte {
		events, err := v.Verify(t.Context(), &webhook.Request{
			Body: []byte(body), Header: http.Header{"Acme-Nonce": {nonce}, "Acme-Signature": {hexSHA256(nonce + "." + body)}},
		})
		require.NoError(t, err)
		return events[0].Proof.Keys
	}
	first := keys("7", `{"id":"1","token":"7","data":{"token":"7"}}`)
	require.Len(t, first, 3)
	require.NotEqual(t, first[0], first[1])
	require.NotEqual(t, first[1], first[2])
	second := keys("7", `{"id":"2","data":{"token":"8"}}`)
	require.Len(t, second, 2)
	require.Equal(t, first[0], second[0])
	require.NotEqual(t, first[1], second[1])
	require.NotEqual(t, first[2], second[1])
	// They are stored: another spelling would forget what is known.
	require.Equal(t, "header Acme-Nonce\x007", string(first[0]))
	require.Equal(t, "field data.token\x007", string(first[2]))
}

// A handshake is answered once the signature and the time hold, and no event
// goes on.
func TestScheme_Handshake(t *testing.T) {
	calls := 0
	v := verifierOf(t, Scheme{
		Signed: []Part{Header("Acme-Time"), Text("."), Body()}, Sent: Seconds(Header("Acme-Time")), Type: JSON("type"),
		Handshake: func(r *webhook.Request, e webhook.Event) *webhook.Answer {
			calls++
			require.Equal(t, r.Body, e.Body)
			if e.Type != "url_verification" {
				return nil
			}
			var body struct{ Challenge string }
			if err := e.Decode(&body); err != nil || body.Challenge == "" {
				return &webhook.Answer{Status: http.StatusBadRequest, Err: errors.New("no challenge")}
			}
			return &webhook.Answer{Body: []byte(body.Challenge)}
		},
	})
	var events []webhook.Event
	handler := webhook.Verify("acme", v)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { events = webhook.Events(r.Context()) }))
	send := func(at time.Time, body string) *httptest.ResponseRecorder {
		events = nil
		signed := &webhook.Request{Time: at, Body: []byte(body), Secrets: []webhook.Secret{{Value: "secret"}}}
		require.NoError(t, v.Sign(signed, webhook.Event{}))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header = signed.Header
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	const challenge = `{"type":"url_verification","challenge":"3eZbrw1a"}`
	w := send(time.Now(), challenge)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "3eZbrw1a", w.Body.String())
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Nil(t, events)
	require.Equal(t, http.StatusBadRequest, send(time.Now(), `{"type":"url_verification"}`).Code)
	require.Nil(t, events)

	require.Equal(t, http.StatusOK, send(time.Now(), `{"type":"message"}`).Code)
	require.Len(t, events, 1)

	before := calls
	require.Equal(t, http.StatusUnauthorized, send(time.Now().Add(-time.Hour), challenge).Code)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(challenge))
	r.Header.Set("Acme-Time", "1700000000")
	r.Header.Set("Acme-Signature", strings.Repeat("0", 64))
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.NotContains(t, w.Body.String(), "3eZbrw1a")
	require.Equal(t, before, calls, "asked for a request that nobody signed")
}

func TestScheme_Keep(t *testing.T) {
	v := verifierOf(t, Scheme{Keep: []string{"Acme-*"}})
	events, err := v.Verify(t.Context(), &webhook.Request{Header: http.Header{
		"Acme-Shop": {"a"}, "Other": {"b"}, "Acme-Signature": {hexSHA256("")},
	}})
	require.NoError(t, err)
	require.Equal(t, http.Header{"Acme-Shop": {"a"}}, events[0].Headers, "the signature is no fact to keep")
}

// Several lines of the header are as one.
func TestScheme_SeveralLines(t *testing.T) {
	v := verifierOf(t, Scheme{Prefix: "sha256="})
	good, bad := "sha256="+hexSHA256("x"), "sha256="+strings.Repeat("0", 64)
	for _, lines := range [][]string{{good}, {bad, good}, {good, bad}, {"sha1=0", good, ""}, append(make([]string, 31), good)} {
		accepts(t, v, &webhook.Request{Body: []byte("x"), Header: http.Header{"Acme-Signature": lines}})
	}
	refuses(t, v, &webhook.Request{Body: []byte("x"), Header: http.Header{"Acme-Signature": append(make([]string, 32), good)}}, webhook.ErrMalformed)
}

// What the log says, for the person who declares a scheme.
func TestScheme_Diagnosis(t *testing.T) {
	mac := hexSHA256("x")
	raw, err := hex.DecodeString(mac)
	require.NoError(t, err)
	for _, test := range []struct {
		name   string
		scheme Scheme
		header string
		says   string
	}{
		{"prefix not declared", Scheme{}, "sha256=" + mac, `begins with "sha256=": is Prefix missing?`},
		{"another prefix", Scheme{Prefix: "v1="}, "v0=" + mac, `no entry that begins with "v1="`},
		{"no prefix there", Scheme{Prefix: "sha256="}, mac, `64 characters, without it: is Prefix wrong?`},
		{"no prefix there, among entries", Scheme{Prefix: "v1=", Separator: ","}, "t=1," + mac, "is Prefix wrong?"},
		{"half a prefix", Scheme{Prefix: "v"}, "v1=" + mac, `begins with "v1=": is Prefix missing?`},
		{"upper case", Scheme{}, strings.ToUpper(mac), "upper-case hexadecimal, the scheme says lower case"},
		{"Base64", Scheme{}, base64.StdEncoding.EncodeToString(raw), "as long as Base64 would be, the scheme says Hex"},
		{"Hex", Scheme{Encoding: Base64}, mac, "as long as Hex would be, the scheme says Base64"},
		{"another hash", Scheme{}, mac + mac, "has 64 characters, none of 1"},
		{"another key", Scheme{}, strings.Repeat("0", 64), "another endpoint's"},
		{"another key or URL", Scheme{Signed: []Part{URL(), Body()}}, strings.Repeat("0", 64), "the URL that it signs is not this one: Verifier.BaseURL"},
		{"another key or path", Scheme{Signed: []Part{Path(), Body()}}, strings.Repeat("0", 64), "path and query, to the letter"},
		{"ed25519 alone", Scheme{Prefix: "v1,", Ed25519: "v1a,"}, "v1a," + mac + mac, `no entry that begins with "v1,", only signatures of the other algorithm`},
		{"neither", Scheme{Prefix: "v1,", Ed25519: "v1a,"}, "v2," + mac, `begins with "v1," or "v1a,"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &webhook.Request{
				URL:  &url.URL{Scheme: "https", Host: "hooks.example.com", Path: "/acme", RawQuery: "token=marked"},
				Body: []byte("x"), Header: http.Header{"Acme-Signature": {test.header}},
			}
			said := refuses(t, verifierOf(t, test.scheme), r, webhook.ErrSignature)
			require.Contains(t, said, test.says)
			require.Equal(t, len(test.scheme.Signed) > 0, strings.Contains(said, "URL"), said)
			require.NotContains(t, said, "marked")
			require.NotContains(t, strings.ToLower(said), mac[:8])
			require.NotContains(t, said, base64.StdEncoding.EncodeToString(raw)[:8])
		})
	}
}

// Each value of an event comes from its own part, be that signed, looked up or
// a field of the body.
func TestScheme_ValuesOfTheirParts(t *testing.T) {
	at := sentAt.Add(-time.Minute).UTC()
	body := []byte(`{"a":"in a","b":"in b","t":"` + at.Format(time.RFC3339) + `"}`)
	for _, test := range []struct {
		name   string
		scheme Scheme
		want   webhook.Event
	}{
		{
			"a field each",
			Scheme{ID: JSON("a"), Type: JSON("b"), Subject: JSON("a"), Time: RFC3339(JSON("t"))},
			webhook.Event{ID: "in a", Type: "in b", Subject: "in a", Time: at},
		},
		{
			"signed headers, in another order",
			Scheme{
				Signed: []Part{Header("Acme-B"), Text("."), Header("Acme-A"), Text("."), Body(), Text("|"), Header("Acme-T")},
				ID:     Header("Acme-A"), Type: Header("Acme-B"), Subject: JSON("b"), Time: RFC3339(Header("Acme-T")),
			},
			webhook.Event{ID: "A", Type: "B", Subject: "in b", Time: at},
		},
		{
			"some not signed",
			Scheme{
				Signed: []Part{Body(), Text("."), Header("Acme-B")},
				ID:     Header("Acme-B"), Type: Header("Acme-A"), Subject: Header("Acme-C"), Time: RFC3339(Header("Acme-T")),
			},
			webhook.Event{ID: "B", Type: "A", Time: at},
		},
	} {
		v := verifierOf(t, test.scheme)
		r := &webhook.Request{
			Time: sentAt, Body: body, Secrets: []webhook.Secret{{Value: "secret"}},
			Header: http.Header{"Acme-A": {"A"}, "Acme-B": {"B"}, "Acme-T": {at.Format(time.RFC3339)}},
		}
		require.NoError(t, v.Sign(r, webhook.Event{}), test.name)
		events, err := v.Verify(t.Context(), r)
		require.NoError(t, err, test.name)
		e := events[0]
		require.Equal(t, test.want, webhook.Event{ID: e.ID, Type: e.Type, Subject: e.Subject, Time: e.Time}, test.name)
	}
}
