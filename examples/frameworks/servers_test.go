package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestServers_GenuineIsProcessed(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		status, _ := r.post("/webhooks/shop", shopSecret, "msg_1", payload)
		require.Equal(t, http.StatusOK, status)
		e := r.processed()
		require.Equal(t, "shop", e.Source)
		require.Equal(t, "msg_1", e.ID)
		require.Equal(t, "order.paid", e.Type)
		require.Equal(t, []byte(payload), e.Body) //nolint:testifylint // byte for byte
		require.Equal(t, "application/json", e.Headers.Get("Content-Type"))
		require.NotContains(t, e.Headers, "Webhook-Signature")
		r.nothingMore(1)
	})
}

func TestServers_ForgedIsRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		status, text := r.post("/webhooks/shop", forger, "msg_1", payload)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, "signature refused\n", text)

		// The handler behind would answer with the order's number.
		status, text = r.post("/orders", forger, "msg_1", payload)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, "signature refused\n", text)

		changed := strings.NewReader(strings.Replace(payload, "4711", "4712", 1))
		status, text = r.send(http.MethodPost, "/orders", r.sign(shopSecret, "msg_1", payload), changed)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, "signature refused\n", text)

		require.Contains(t, r.log.String(), "no signature fits")
		require.NotContains(t, r.log.String(), "4711")
		r.nothingMore(0)
	})
}

func TestServers_TwiceHasOneEffect(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		for range 3 { // signed anew each time, as senders do
			status, _ := r.post("/webhooks/shop", shopSecret, "msg_1", payload)
			require.Equal(t, http.StatusOK, status)
		}
		require.Equal(t, "msg_1", r.processed().ID)
		status, _ := r.post("/webhooks/shop", shopSecret, "msg_1", payload)
		require.Equal(t, http.StatusOK, status, "a duplicate is answered like the first")
		r.nothingMore(1)
	})
}

// The handler of the framework binds the body that Verify has read.
func TestServers_BodyIsThereBehindVerify(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		status, text := r.post("/orders", shopSecret, "msg_1", payload)
		require.Equal(t, http.StatusOK, status)
		var answer map[string]string
		require.NoError(t, json.Unmarshal([]byte(text), &answer))
		require.Equal(t, map[string]string{"order": "4711", "event": "msg_1"}, answer)

		status, _ = r.post("/orders", shopSecret, "msg_2", `{"type":`)
		require.Equal(t, http.StatusUnprocessableEntity, status)
	})
}

func TestServers_TenantsInThePath(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		status, _ := r.post("/webhooks/tenants/acme", acmeSecret, "msg_1", payload)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "acme", r.processed().Tenant)
		status, _ = r.post("/webhooks/tenants/globex", globexSecret, "msg_1", payload)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "globex", r.processed().Tenant, "the same id of another tenant is another event")

		for _, path := range []string{"globex", "initech", "acme%20", "ACME"} {
			status, _ = r.post("/webhooks/tenants/"+path, acmeSecret, "msg_2", payload)
			require.Equal(t, http.StatusUnauthorized, status, path)
		}
		r.nothingMore(2)
	})
}

// What is larger than the limit is refused, whether the sender announces it or not.
func TestServers_TooLarge(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		const tooMany = bodyLimit + 1
		for name, request := range map[string]string{
			// Of the announced body not a byte is sent: the answer does not wait for it.
			"announced": fmt.Sprintf("Content-Length: %d\r\n\r\n", tooMany),
			"chunked":   fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", tooMany, strings.Repeat("x", tooMany)),
		} {
			for _, path := range []string{"/webhooks/shop", "/orders"} {
				conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
				require.NoError(t, err)
				require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
				_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: shop.test\r\n%s", path, request)
				require.NoError(t, err)
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err, name)
				assert.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode, "%s, %s", path, name)
				require.NoError(t, res.Body.Close())
				require.NoError(t, conn.Close())
			}
		}

		// And what is as large as the limit is not.
		body := `{"type":"order.paid","data":{"number":"` + strings.Repeat("7", bodyLimit-42) + `"}}`
		require.Len(t, body, bodyLimit)
		status, _ := r.post("/webhooks/shop", shopSecret, "msg_1", body)
		require.Equal(t, http.StatusOK, status)
		require.Len(t, r.processed().Body, bodyLimit)
		r.nothingMore(1)
	})
}

// A POST that a redirect turned into a GET: the sender is told.
func TestServers_OtherMethods(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		for _, path := range []string{"/webhooks/shop", "/webhooks/tenants/acme", "/orders"} {
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				status, text := r.send(method, path, r.sign(shopSecret, "msg_1", ""), nil)
				require.Equal(t, http.StatusMethodNotAllowed, status, "%s %s", method, path)
				require.Contains(t, text, "which a redirect (to https, to another slash) turns into GET")
			}
		}
		r.nothingMore(0)
	})
}

// What becomes of a request to a URL that is nearly right.
func TestServers_NearlyTheURL(t *testing.T) {
	// What the sender sees. Only an answer of 200 means that it is stored.
	want := map[string]map[string]int{
		"chi":   {"//webhooks/shop": 404, "/webhooks/shop/": 404, "/Webhooks/Shop": 404},
		"gin":   {"//webhooks/shop": 404, "/webhooks/shop/": 307, "/Webhooks/Shop": 404},
		"echo":  {"//webhooks/shop": 404, "/webhooks/shop/": 404, "/Webhooks/Shop": 404},
		"fiber": {"//webhooks/shop": 404, "/webhooks/shop/": 200, "/Webhooks/Shop": 200},
	}
	everywhere(t, func(t *testing.T, r *rig) {
		framework := t.Name()[strings.LastIndex(t.Name(), "/")+1:]
		require.Len(t, want[framework], 3)
		stored := 0
		for path, status := range want[framework] {
			got, _ := r.post(path, shopSecret, path, payload)
			assert.Equal(t, status, got, path)
			if got == http.StatusOK {
				assert.Equal(t, path, r.processed().ID)
				stored++
			}
		}
		r.nothingMore(stored)
	})
}

// A sender that follows redirects: with 307 and 308 it repeats its POST, with 301
// and 302 it comes with an empty GET.
func TestServers_Redirected(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		for _, code := range []int{301, 302, 307, 308} {
			front := http.Server{Handler: http.RedirectHandler(r.url+"/webhooks/shop", code)}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			go front.Serve(l)
			t.Cleanup(func() { front.Close() })

			req, err := http.NewRequest(http.MethodPost, "http://"+l.Addr().String(), strings.NewReader(payload))
			require.NoError(t, err)
			req.Header = r.sign(shopSecret, fmt.Sprint(code), payload)
			status, text := r.do(&http.Client{Transport: client.Transport, Timeout: client.Timeout}, req)
			if code >= 307 {
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, fmt.Sprint(code), r.processed().ID)
				continue
			}
			require.Equal(t, http.StatusMethodNotAllowed, status)
			require.Contains(t, text, "turns into GET")
		}
		r.nothingMore(2)
	})
}
