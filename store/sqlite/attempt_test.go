package sqlite

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is written by hand is what encoding/json writes.
func FuzzSuccessRest(f *testing.F) {
	f.Add(int64(0), int64(1), int64(-2), 200, "127.0.0.1:443", "4bf92f3577b34da6a3ce929d0e0e4736", []byte("ok"))
	f.Add(int64(0), int64(0), int64(0), 0, "[2001:db8::1%eth0]:443", "", []byte{})
	f.Add(int64(5), int64(0), int64(0), 0, "a\"b\\c<d>&e\x7f\u2028", "\x00", []byte{0, 255})
	f.Fuzz(func(t *testing.T, dns, connect, first int64, status int, address, trace string, response []byte) {
		rest := successRest{
			DNS: time.Duration(dns), Connect: time.Duration(connect), FirstByte: time.Duration(first), Status: status, Address: address, TraceID: trace, Response: response,
		}
		if rest.empty() {
			return
		}
		want, err := json.Marshal(rest)
		require.NoError(t, err)
		require.Equal(t, string(want), rest.text())
	})
}
