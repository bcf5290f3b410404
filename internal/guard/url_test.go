package guard_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/guard"
)

func TestCheckURL_Refused(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, test := range []struct {
		name string
		urls []string
	}{
		{"decimal address", []string{"https://2130706433/", "https://2130706433.", "https://134744072/"}},
		{"hexadecimal address", []string{"https://0x7f.1/", "https://0x7f000001/", "https://0X7F.0.0.1/", "https://127.0.0.0x1/", "https://8.8.8.0x/"}},
		{"octal address", []string{"https://0177.0.0.1/", "https://010.8.8.8/", "https://8.8.8.08/"}},
		{"short address", []string{"https://127.1/", "https://8.8/", "https://1/", "https://0/"}},
		{"too many parts", []string{"https://8.8.8.8.8/", "https://example.123/", "https://256.1.1.1/"}},
		{"circled digits", []string{"https://①②⑦.⓪.⓪.①/", "https://１２７.0.0.1/", "https://127。0。0。1/"}},
		{"trailing dot", []string{"https://127.0.0.1./", "https://example.com./", "https://localhost./", "https://example.com.:443/"}},
		{"upper case", []string{"https://LOCALHOST/", "HTTPS://LocalHost/", "https://METADATA.Google.Internal/"}},
		{"percent-encoded host", []string{"https://%31%32%37.0.0.1/", "https://%6cocalhost/", "https://example%2ecom/", "https://example.com%00.evil.example/", "https://127.0.0.1%2f@good.example/"}},
		{"private addresses", []string{"https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/", "https://0.0.0.0/", "https://168.63.129.16/"}},
		{"IPv6 forms", []string{
			"https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
			"https://[2002:7f00:1::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[FE80::1]/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[2606:4700::1%25lo]/",
		}},
		{"malformed IPv6", []string{"https://[::1/", "https://::1/", "https://[]/", "https://[8.8.8.8]/", "https://[example.com]/", "https://[2606:4700::1]x/", "https://2606:4700::1/"}},
		{"localhost", []string{"https://localhost/", "https://localhost.localdomain/", "https://a.localhost/", "https://localhost:443/"}},
		{"internal names", []string{"https://metadata.google.internal/", "https://printer.local/", "https://nas.home.arpa/", "https://internal/", "https://intranet/", "https://metadata/"}},
		{"userinfo", []string{"https://good.example@127.0.0.1/", "https://user:secret@example.com/", "https://@example.com/", "https://:@example.com/", "https://127.0.0.1@good.example/", "https://a@b@example.com/"}},
		{"fragment", []string{"https://127.0.0.1#@good.example", "https://good.example#", "https://good.example/#x", "https://good.example#@127.0.0.1/"}},
		{"backslash", []string{`https://good.example\@127.0.0.1/`, `https:\\127.0.0.1/`, `https://good.example/a\b`, `https://127.0.0.1\.good.example/`}},
		{"control characters", []string{"https://good.example/a\r\nHost: evil", "https://good.example/\n", "https://good.example\t/", "\nhttps://good.example/", "https://good.example/\x00", "https://good.example/\x7f"}},
		{"spaces", []string{" https://good.example/", "https://good.example/ ", "https://good .example/", "https://good.example/a b"}},
		{"not ASCII", []string{"https://bücher.example/", "https://good.example/ü", "https://good.example/\u200b", "https://good.example/\xff"}},
		{"no host", []string{"https://", "https:///path", "https://?x", "https://:443/", "https:/good.example/", "https:good.example"}},
		{"not absolute", []string{"", "/", "//good.example/", "good.example", "good.example/path", "://good.example/", "?https://good.example/"}},
		{"other schemes", []string{"ftp://good.example/", "file:///etc/passwd", "gopher://good.example:443/", "httpsx://good.example/", "javascript://good.example/", "ws://good.example/", "unix:///run/x"}},
		{"http", []string{"http://good.example/", "HTTP://good.example/", "http://good.example:443/"}},
		{"ports", []string{
			"https://good.example:0/", "https://good.example:22/", "https://good.example:25/", "https://good.example:80/", "https://good.example:6379/",
			"https://good.example:65536/", "https://good.example:65979/", "https://good.example:0443/", "https://good.example:/", "https://good.example:-1/", "https://good.example:+443/",
			"https://good.example:443:443/", "https://8.8.8.8:22/", "https://[2606:4700::1111]:22/",
		}},
		{"too long", []string{"https://good.example/" + strings.Repeat("a", 10<<10), "https://good.example/" + strings.Repeat("a", 2028), "https://good.example/" + strings.Repeat("^", 1500)}},
		{"names", []string{
			"https://good..example/", "https://.good.example/", "https://-good.example/", "https://good-.example/", "https://go!od.example/", "https://go,od.example/",
			"https://" + label + "a.example/", "https://" + label + "." + label + "." + label + "." + label + ".example/", "https://*.example.com/", "https://good.example;x/",
		}},
		{"malformed", []string{"https://good.example/%zz", "https://good.example:port/"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, raw := range test.urls {
				u, err := guard.Rules{}.CheckURL(raw)
				var refusal *guard.Error
				require.ErrorAs(t, err, &refusal, "%q", raw)
				assert.Nil(t, u, "%q", raw)
			}
		})
	}
}

func TestCheckURL_Accepted(t *testing.T) {
	long := "https://good.example/" + strings.Repeat("a", 2027)
	for raw, want := range map[string]string{
		"https://good.example":                                "https://good.example",
		"https://good.example/":                               "https://good.example/",
		"HTTPS://Good.Example/Hooks?Key=V":                    "https://good.example/Hooks?Key=V",
		"https://good.example:443/a/b?x=1&y=%0A":              "https://good.example:443/a/b?x=1&y=%0A",
		"https://good.example:8443/":                          "https://good.example:8443/",
		"https://xn--bcher-kva.example/":                      "https://xn--bcher-kva.example/",
		"https://my_host.good.example/":                       "https://my_host.good.example/",
		"https://4chan.example/":                              "https://4chan.example/",
		"https://1.2.3.example/":                              "https://1.2.3.example/",
		"https://0x7f.example/":                               "https://0x7f.example/",
		"https://127.0.0.1.good.example/":                     "https://127.0.0.1.good.example/",
		"https://8.8.8.8/":                                    "https://8.8.8.8/",
		"https://[2606:4700:4700::1111]:8443/":                "https://[2606:4700:4700::1111]:8443/",
		"https://good.example/@me?to=a@b":                     "https://good.example/@me?to=a@b",
		"https://good.example/a%2Fb%5C?u=https://x.example/y": "https://good.example/a%2Fb%5C?u=https://x.example/y",
		long: long,
	} {
		u, err := guard.Rules{}.CheckURL(raw)
		require.NoError(t, err, raw)
		assert.Equal(t, want, u.String())
	}
}

func TestCheckURL_Switches(t *testing.T) {
	development := guard.Rules{Development: true}
	allow := guard.Rules{Allow: prefixes("10.0.0.0/8")}
	for _, test := range []struct {
		name            string
		rules           guard.Rules
		opened, refused []string
	}{
		{
			"development", development,
			[]string{"http://localhost:3000/hook", "http://127.0.0.1:1/", "http://[::1]:8080/", "https://localhost/", "http://good.example/", "http://app.local/", "http://LOCALHOST/"},
			[]string{"http://10.0.0.1/", "http://169.254.169.254/", "ftp://localhost/", "http://user@localhost/", "http://localhost:0/", "http://2130706433/", "http://localhost/#x"},
		},
		{
			"allow", allow,
			[]string{"https://10.0.0.1/", "https://hooks.internal/", "https://hooks/", "https://hooks.ns.svc.cluster.local:8443/"},
			[]string{"http://10.0.0.1/", "https://192.168.0.1/", "https://127.0.0.1/", "https://hooks:80/", "https://10.1/", "https://localhost/x", "https://app.localhost/"},
		},
		{
			"allow loopback",
			guard.Rules{Allow: prefixes("127.0.0.0/8")},
			[]string{"https://localhost/", "https://app.localhost/", "https://127.0.0.1/"},
			[]string{"http://localhost/", "https://[::1]/", "https://localhost:3000/"},
		},
		{
			"allow one loopback address",
			guard.Rules{Allow: prefixes("::1/128")},
			[]string{"https://localhost/", "https://[::1]/"},
			[]string{"https://127.0.0.1/"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, raw := range test.opened {
				_, err := test.rules.CheckURL(raw)
				assert.NoError(t, err, raw)
			}
			for _, raw := range test.refused {
				_, err := test.rules.CheckURL(raw)
				assert.Error(t, err, raw)
			}
		})
	}
}

// What a person sees in the first ten minutes.
func TestCheckURL_NamesTheSetting(t *testing.T) {
	for raw, setting := range map[string]string{
		"http://localhost:3000/hook":   guard.Development,
		"http://good.example/":         guard.Development,
		"https://localhost/":           guard.Development,
		"https://127.0.0.1/":           guard.Development,
		"https://10.0.0.1/":            guard.Allow,
		"https://hooks.internal/":      guard.Allow,
		"https://intranet/":            guard.Allow,
		"https://good.example:444/":    guard.Ports,
		"https://good.example/#x":      "",
		"https://user@good.example/":   "",
		"ftp://good.example/":          "",
		"https://good.example:65536/":  "",
		"https://0177.0.0.1/":          "",
		"https://good.example./":       "",
		"https://good.example/\r\nx:y": "",
	} {
		_, err := guard.Rules{}.CheckURL(raw)
		var refusal *guard.Error
		require.ErrorAs(t, err, &refusal, raw)
		assert.Equal(t, setting, refusal.Setting, raw)
		assert.Regexp(t, "^blocked: ", err.Error())
		assert.ErrorContains(t, err, setting)
	}
}

// Userinfo is named as what it is: the fix is another than for a typo.
func TestCheckURL_NamesUserinfo(t *testing.T) {
	for _, raw := range []string{"https://user:pass@good.example/", "https://good.example@127.0.0.1/", "https://@good.example/"} {
		_, err := guard.Rules{}.CheckURL(raw)
		assert.ErrorContains(t, err, "userinfo", raw)
	}
}

// Of a URL that is refused its credentials are not shown, wherever they are.
func TestCheckURL_ErrorsShowNoSecret(t *testing.T) {
	for _, raw := range []string{
		"https://user:hunter2@good.example/", "https://hunter2@good.example/", "https://good.example:22/hunter2?k=hunter2", "http://good.example/hunter2",
		"https://good.example/#hunter2", "https://localhost/hunter2?hunter2", "https://good.example/hunter2%zz", "https://good.example:hunter2/", "ftp://good.example/hunter2",
		"hunter2://good.example/", "https://hunter2\\@good.example/", "https://good.example?hunter2\n", "https://u:hunter2@[::1", "https://10.0.0.1/hunter2",
		"https://0x7f.1/hunter2", "https://good.example/hunter2" + strings.Repeat("x", 2<<10),
	} {
		_, err := guard.Rules{}.CheckURL(raw)
		require.Error(t, err, raw)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

// Whatever passes is https, of a plain host, to an allowed port, and passes
// again as it is printed.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://good.example/", "https://good.example:8443/a?b#c", "http://2130706433/", "https://0x7f.1/", "https://good.example@127.0.0.1/", "https://[::ffff:127.0.0.1]:443/",
		"https://[fe80::1%25eth0]/", "https://①②⑦.⓪.⓪.①/", "https:\\\\good.example", "https://good.example/%2e%2e/^|`{}\"<>", "https://8.8.8.8", "HTTPS://A.B:443?", "https://[64:ff9b::808:808]/", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := guard.Rules{}.CheckURL(raw)
		if err != nil {
			var refusal *guard.Error
			require.ErrorAs(t, err, &refusal)
			require.Nil(t, u)
			return
		}
		require.Equal(t, "https", u.Scheme)
		require.Nil(t, u.User)
		require.Empty(t, u.Fragment)
		require.Empty(t, u.Opaque)
		require.Contains(t, []string{"", "443", "8443"}, u.Port())
		require.LessOrEqual(t, len(u.String()), 2048)

		host := u.Hostname()
		if ip, err := netip.ParseAddr(host); err == nil {
			require.NoError(t, guard.Rules{}.CheckAddr(netip.AddrPortFrom(ip, 443)))
		} else {
			require.Regexp(t, `^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$`, host)
			require.NotRegexp(t, `(^|\.)([0-9]+|0x[0-9a-f]*|localhost|internal)$`, host)
		}

		again, err := guard.Rules{}.CheckURL(u.String())
		require.NoError(t, err)
		require.Equal(t, u.String(), again.String())
	})
}
