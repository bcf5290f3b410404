package webhook

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// These tests stand inside the package: nothing shows what is kept to the outside.

func TestWildcards(t *testing.T) {
	for pattern, want := range map[string][]string{
		"":                                   nil,
		"/webhooks/shop":                     nil,
		"POST example.com/{tenant}/x/{rest}": {"tenant", "rest"},
		"/files/{path...}":                   {"path"},
		"/files/{$}":                         nil,
		"/webhooks/{tenant}/*":               {"tenant", "*"}, // chi
		"/{id:[a-z]{2,3}}/{kind:a|b}":        {"id", "kind"},  // chi
		"/{a}{b}":                            {"a", "b"},
		"/{}/{...}/{:x}":                     nil,
		"/{open":                             {"open"},
		"/:tenant/hooks/:name":               {"tenant", "name"},
		"/a:b/{x}":                           {"x"},
		"/files/*":                           {"*"},
	} {
		require.Equal(t, want, slices.Collect(wildcards(pattern)), pattern)
	}
}

func TestWithoutHidden(t *testing.T) {
	hide := []string{"Seal", "X-Token-*"}
	for query, want := range map[string]string{
		"":                            "",
		"a=1&b=2":                     "a=1&b=2",
		"seal=s3cret":                 "",
		"a=1&SEAL=s3cret&b=2":         "a=1&b=2",
		"seal=s3cret&seal=s3cret&a":   "a",
		"%73ea%6c=s3cret&a=1":         "a=1",
		"x-token-a=s3cret&x-tok=1":    "x-tok=1",
		"a=%7E+%20&&b=&c=%zz&=&d;e=1": "a=%7E+%20&&b=&c=%zz&=&d;e=1", // as it was spelt
		"a=1;seal=s3cret&b=2":         "b=2",
		"a=seal&sealed=1":             "a=seal&sealed=1",
		"a=1&seal":                    "a=1",
	} {
		require.Equal(t, want, withoutHidden(query, hide), query)
		require.Equal(t, query, withoutHidden(query, nil))
	}
	// Some are credentials by their name, whatever the verifier says.
	for query, want := range map[string]string{
		"token=s3cret&a=1":                             "a=1",
		"a=1&Access_Token=s3cret":                      "a=1",
		"%74oken=s3cret":                               "",
		"X-Amz-Signature=s3cret&X-Amz-Credential=s&a=": "a=",
		"api_key=s3cret;a=1&b=tokens&tokens=2":         "b=tokens&tokens=2",
	} {
		require.Equal(t, want, withoutHidden(query, nil), query)
	}
}

func TestArrival_KeepsTheSpellingOfURLs(t *testing.T) {
	for _, target := range []string{
		"/", "/a", "//a//b/", "/a%2Fb", "/a/../b", "/%7Euser", "/~user", "/caf%c3%a9", "/caf\xc3\xa9", "/caf\xe9", "/caf%E9",
		"/a;b,c=1@x:y", "/%00%0a", "/a%20b", "/a+b", "/*", "/?a=1&b=%20+", "/a?b?c", "/a%3Fb?c", "/?\xff=%ff", "/a?b#c", "/\"<>^`{|}",
	} {
		r := &http.Request{Method: http.MethodPost}
		var err error
		r.URL, err = url.ParseRequestURI(target)
		require.NoError(t, err)
		a, err := arrivalOf(r, nil)
		require.NoError(t, err)
		back, err := a.url()
		require.NoError(t, err)
		require.Equal(t, r.URL, back, target)
	}
}

// A middleware that sets Path need not mind RawPath: what net/http goes by counts.
func TestArrival_PathThatWasRewritten(t *testing.T) {
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/new path", RawPath: "/old%2Fpath"}}
	a, err := arrivalOf(r, nil)
	require.NoError(t, err)
	back, err := a.url()
	require.NoError(t, err)
	require.Equal(t, "/new path", back.Path)
	require.Equal(t, "/new%20path", back.EscapedPath())
}

func TestArrival_Bound(t *testing.T) {
	fill := func(n int) string { return strings.Repeat("x", n) }
	for name, c := range map[string]struct {
		target string
		ok     bool
	}{
		"8000 bytes, all of them a wildcard's": {"/" + fill(8000), true},
		"a path above":                         {"/" + fill(maxArrival/2), false},
		"a query at the bound":                 {"/?" + fill(maxArrival-100), true},
		"a query above":                        {"/?" + fill(maxArrival), false},
		"a credential above":                   {"/?sig=" + fill(maxArrival), false},
	} {
		t.Run(name, func(t *testing.T) {
			var a *arrival
			var err error
			mux := http.NewServeMux()
			mux.HandleFunc("/{all...}", func(_ http.ResponseWriter, r *http.Request) { a, err = arrivalOf(r, []string{"sig"}) })
			mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, c.target, nil))
			if c.ok {
				require.NoError(t, err)
				require.LessOrEqual(t, a.size(), maxArrival)
				return
			}
			require.ErrorIs(t, err, ErrMalformed)
			require.NotContains(t, err.Error(), "xxx")
		})
	}
}

// What is as nearly always costs next to nothing.
func TestArrival_TakesFewBytes(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "http://example.com/", nil)
	r.RemoteAddr = ""
	came, err := arrivalOf(r, []string{"X-Signature"})
	require.NoError(t, err)
	a, err := written(handed{event: Event{ID: "1"}, arrival: came}, 0)
	require.NoError(t, err)
	require.JSONEq(t, `{"r":{"h":"example.com"}}`, string(a.Record.Head))
}

func TestRecord_RoundTripOfArrivalAndCarried(t *testing.T) {
	for name, in := range map[string]handed{
		"a POST to /": {arrival: &arrival{}},
		"everything": {
			arrival: &arrival{
				Method: "PUT", Path: "/a%2Fb", Query: "a=1&b=<2>", Host: "example.com:8080",
				Pattern: "/{x}/{y...}", Values: []string{"a/b", ""}, Remote: "[::1]:1234",
			},
			carried: map[string]string{"user": "42", "": ""},
		},
		"bytes": {
			arrival: &arrival{
				Method: "\xff", Path: "/\xff", Query: "\xff=\x00", Host: "\x00AA==", Pattern: "/{\xe9}",
				Values: []string{"ok", "\xff"}, Remote: "\xff",
			},
			carried: map[string]string{"\xff": "\x00", "\x00": "<\u2028>"},
		},
		"bytes in a path value alone": {arrival: &arrival{Path: "/%ff", Pattern: "/{x}", Values: []string{"\xff"}}},
	} {
		t.Run(name, func(t *testing.T) {
			in.event = Event{ID: "1"}
			a, err := written(in, time.Hour)
			require.NoError(t, err)
			back, err := handedOf(a.Record)
			require.NoError(t, err)
			require.Equal(t, &in, back)
			require.Equal(t, back, keptOf(in, a.Record), "an attempt gets the same without the reading")
		})
	}
}

// The names in what is stored may not change: requests that were kept by an
// earlier version are shown by a later one.
func TestArrival_FormatIsStable(t *testing.T) {
	a, err := written(handed{
		event: Event{ID: "1"},
		arrival: &arrival{
			Method: "PUT", Path: "/acme", Query: "a=1", Host: "h", Pattern: "/{t}", Values: []string{"acme"}, Remote: "1.2.3.4:5",
		},
		carried: map[string]string{"user": "42"},
	}, 0)
	require.NoError(t, err)
	require.JSONEq(t, `{"r":{"m":"PUT","p":"/acme","q":"a=1","h":"h","t":"/{t}","v":["acme"],"a":"1.2.3.4:5"},"c":{"user":"42"}}`,
		string(a.Record.Head))
}

// FuzzArrival keeps requests as they come from a connection, and shows them again.
func FuzzArrival(f *testing.F) {
	f.Add("POST", "/webhooks/acme?a=1&sig=s3cret", "example.com", "/webhooks/{tenant}", "127.0.0.1:1")
	f.Add("PUT", "//a%2Fb/caf\xe9?%zz;sig=&&", "user:s3cret@h", "/{a}/{b...}", "\xff")
	f.Add("GET", "/*", "", "*{", "\x00AA==")
	f.Fuzz(func(t *testing.T, method, target, host, pattern, remote string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Scheme != "" || u.Opaque != "" || u.Path == "" {
			return // nothing that a mux passes on
		}
		r := &http.Request{Method: method, URL: u, Host: host, Pattern: pattern, RemoteAddr: remote}
		for name := range wildcards(pattern) {
			r.SetPathValue(name, "value of "+name)
		}
		came, err := arrivalOf(r, []string{"sig"})
		if err != nil {
			return
		}
		in := handed{event: Event{ID: "1", Source: "shop"}, arrival: came}
		a, err := written(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		back, err := handedOf(a.Record)
		if err != nil || !reflect.DeepEqual(back.arrival, came) {
			t.Fatalf("%#v\ncame back as\n%#v\n%v", came, back, err)
		}
		if _, ok := back.arrival.queryOf(t)["sig"]; ok {
			t.Fatalf("%q keeps a credential of %q", back.arrival.Query, target)
		}
		shown, err := replay(t.Context(), &attempt{inbox: &Inbox{}, handed: back}, back.event)
		if err != nil {
			if !validMethod(t, method) {
				return // net/http refuses it on arrival
			}
			t.Fatal(err)
		}
		u.RawQuery, u.ForceQuery = withoutHidden(u.RawQuery, []string{"sig"}), false
		if !reflect.DeepEqual(shown.URL, u) {
			t.Fatalf("%#v is shown as %#v", u, shown.URL)
		}
		for name := range wildcards(pattern) {
			if got := shown.PathValue(name); got != "value of "+name {
				t.Fatalf("path value %q is %q", name, got)
			}
		}
	})
}

func (a *arrival) queryOf(t *testing.T) url.Values {
	t.Helper()
	v, _ := url.ParseQuery(a.Query) // what cannot be parsed is in no Values
	return v
}

func validMethod(t *testing.T, method string) bool {
	t.Helper()
	_, err := http.NewRequestWithContext(t.Context(), method, "/", http.NoBody)
	return err == nil
}

// FuzzHandedOf shows requests from heads that no version of this package wrote:
// they are refused, or shown, and never quoted.
func FuzzHandedOf(f *testing.F) {
	for _, head := range []string{
		"", `{"r":{}}`, `{"r":null,"c":null}`, `{"r":{"p":"%zz"}}`, `{"r":{"m":"A B"}}`, `{"r":{"m":"","p":"no slash","q":"#\n"}}`,
		`{"r":{"t":"/{a}/{b}","v":["1","2","3"]}}`, `{"r":{"t":"/{a}/{b}","v":["1"]}}`, `{"r":{"t":"{{{","v":[""]}}`,
		`{"r":{"p":"\u0000/w=="},"c":{"\u0000/w==":"\u0000!"}}`, `{"r":{"v":"s3cret"}}`, `{"c":[1]}`,
	} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		h, err := handedOf(&store.Record{ID: "1", Source: "shop", Head: head})
		if err != nil {
			return
		}
		r, err := replay(t.Context(), &attempt{inbox: &Inbox{}, handed: h}, h.event)
		if err != nil {
			for _, text := range []string{h.arrival.Path, h.arrival.Method} {
				if len(text) > 10 && strings.Contains(err.Error(), text) {
					t.Fatalf("quoted: %v", err)
				}
			}
			return
		}
		if r.URL == nil || r.Header == nil || r.Body == nil {
			t.Fatalf("%#v", r)
		}
		// What was read can be written, and read again as the same.
		a, err := written(*h, 0)
		if err != nil {
			t.Fatal(err)
		}
		again, err := handedOf(a.Record)
		if err != nil || !reflect.DeepEqual(usual(h), usual(again)) {
			t.Fatalf("%#v\nthen\n%#v\n%v", h, again, err)
		}
	})
}

// usual is h with what is empty as none.
func usual(h *handed) handed {
	u := *h
	u.event = normal(u.event)
	if len(u.carried) == 0 {
		u.carried = nil
	}
	if u.arrival != nil && len(u.arrival.Values) == 0 {
		a := *u.arrival
		a.Values = nil
		u.arrival = &a
	}
	return u
}
