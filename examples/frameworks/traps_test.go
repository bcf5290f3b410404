package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// What somebody may do in front of Verify, and should not: read the body. It is
// refused with 500, since the sender did nothing wrong, and the log says why.
func TestTraps_BoundBeforeVerify(t *testing.T) {
	for framework, of := range map[string]func(*service) http.Handler{
		"chi": func(s *service) http.Handler {
			r := chi.NewRouter()
			r.Use(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadAll(r.Body) // to log it
					next.ServeHTTP(w, r)
				})
			})
			r.Mount("/", chiRouter(s))
			return r
		},
		"gin": func(s *service) http.Handler {
			r := gin.New()
			bind := func(c *gin.Context) {
				var o order
				if c.ShouldBindJSON(&o) != nil {
					c.AbortWithStatus(http.StatusTeapot)
				}
			}
			r.Any("/webhooks/shop", bind, gin.WrapH(ginEngine(s)))
			r.Any("/orders", bind, gin.WrapH(ginEngine(s)))
			return r
		},
		"echo": func(s *service) http.Handler {
			e := echo.New()
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c *echo.Context) error {
					var o order
					if err := c.Bind(&o); err != nil {
						return c.NoContent(http.StatusTeapot)
					}
					return next(c)
				}
			})
			e.Any("/*", echo.WrapHandler(echoRouter(s)))
			return e
		},
	} {
		t.Run(framework, func(t *testing.T) {
			r := start(t, func(s *service) server { return overHTTP(framework, of(s)) })
			for _, path := range []string{"/webhooks/shop", "/orders"} {
				status, text := r.post(path, shopSecret, "msg_1", payload)
				require.Equal(t, http.StatusInternalServerError, status)
				require.Equal(t, "internal error\n", text)
			}
			require.Contains(t, r.log.String(), "the body was read before Verify: put Verify before whatever reads or binds it")
			require.NotContains(t, r.log.String(), "4711")
			r.nothingMore(0)
		})
	}
}

// In fiber a body that was bound is still there.
func TestFiber_BoundBeforeVerify(t *testing.T) {
	r := start(t, func(s *service) server {
		app := fiber.New()
		app.Use(func(c fiber.Ctx) error {
			var o order
			if err := c.Bind().JSON(&o); err != nil {
				return c.SendStatus(http.StatusTeapot)
			}
			return c.Next()
		})
		app.Use(fiberApp(s))
		return overFiber(app)
	})
	status, _ := r.post("/webhooks/shop", shopSecret, "msg_1", payload)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []byte(payload), r.processed().Body) //nolint:testifylint // byte for byte
	r.nothingMore(1)
}

// A path value that chi has not found yet when a middleware of Use runs.
func TestChi_UseSeesNoTenant(t *testing.T) {
	r := start(t, func(s *service) server {
		mux := chi.NewRouter()
		mux.Use(webhook.Verify("tenants", s.tenants))
		mux.Handle("/webhooks/tenants/{tenant}", s.inbox.Receive(orders))
		return overHTTP("chi", mux)
	})
	status, _ := r.post("/webhooks/tenants/acme", acmeSecret, "msg_1", payload)
	require.Equal(t, http.StatusUnauthorized, status, "it fails closed")
	require.Contains(t, r.log.String(), "there is no secret for this request")
	r.nothingMore(0)
}

// What is signed are the bytes as they came, and these are kept.
func TestServers_CompressedBody(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write([]byte(payload))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	everywhere(t, func(t *testing.T, r *rig) {
		h := r.sign(shopSecret, "msg_1", zipped.String())
		h.Set("Content-Encoding", "gzip")
		status, _ := r.send(http.MethodPost, "/webhooks/shop", h, bytes.NewReader(zipped.Bytes()))
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, zipped.Bytes(), r.processed().Body)
		r.nothingMore(1)
	})
}

// Fiber uses the memory of a request again, while the event waits for its handler.
func TestFiber_EventsOutliveTheRequest(t *testing.T) {
	r := start(t, func(s *service) server { return overFiber(fiberApp(s)) })
	const n = 50
	tenants := []string{"acme", "globex"}
	secrets := []string{acmeSecret, globexSecret}
	body := func(i int) string { return fmt.Sprintf(`{"type":"order.paid","data":{"number":"%04d"}}`, i) }
	var held []webhook.Event
	for i := range n {
		h := r.sign(secrets[i%2], fmt.Sprintf("msg_%04d", i), body(i))
		h.Set("User-Agent", fmt.Sprintf("shop/%04d", i))
		status, _ := r.send(http.MethodPost, "/webhooks/tenants/"+tenants[i%2], h, strings.NewReader(body(i)))
		require.Equal(t, http.StatusOK, status)
		held = append(held, r.processed())
	}
	for i, e := range held {
		require.Equal(t, tenants[i%2], e.Tenant)
		require.Equal(t, fmt.Sprintf("msg_%04d", i), e.ID)
		require.Equal(t, body(i), string(e.Body))
		require.Equal(t, fmt.Sprintf("shop/%04d", i), e.Headers.Get("User-Agent"))
	}
}

// Without the check in front nothing is stored, as with net/http.
func TestFiber_ReceiveWithoutVerify(t *testing.T) {
	r := start(t, func(s *service) server {
		app := fiber.New()
		app.All("/webhooks/shop", s.fiberReceive(orders))
		return overFiber(app)
	})
	status, _ := r.post("/webhooks/shop", shopSecret, "msg_1", payload)
	require.Equal(t, http.StatusInternalServerError, status)
	r.nothingMore(0)
}

// Answers that are no refusals: a handshake's, and a batch of no events.
func TestFiber_OtherAnswers(t *testing.T) {
	r := start(t, func(s *service) server {
		app := fiber.New()
		app.All("/handshake", s.fiberVerify("shop", webhook.Verifier{
			Keyless: true, Methods: []string{http.MethodGet},
			Check: func(context.Context, *webhook.Request) ([]webhook.Event, error) {
				return nil, &webhook.Answer{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"ok":true}`)}
			},
		}), s.fiberReceive(orders))
		app.All("/empty", s.fiberVerify("shop", webhook.Unverified(func(*webhook.Request) ([]webhook.Event, error) {
			return nil, nil
		})), s.fiberReceive(orders))
		return overFiber(app)
	})
	req, err := http.NewRequest(http.MethodGet, r.url+"/handshake", nil)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))

	status, _ := r.send(http.MethodPost, "/empty", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, r.log.String(), "rejected")
	r.nothingMore(0)
}

// What is not stored is not acknowledged: the sender is to come again.
func TestServers_StoreFails(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.full.Store(true)
		status, text := r.post("/webhooks/shop", shopSecret, "msg_1", payload)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Contains(t, text, "try again later")

		r.full.Store(false)
		status, _ = r.post("/webhooks/shop", shopSecret, "msg_1", payload)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "msg_1", r.processed().ID)
		r.nothingMore(1)
	})
}
