package main

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/surehook/webhook"
)

// echoRouter mounts net/http's handlers with echo.WrapHandler, and Verify in front
// of echo's own with echo.WrapMiddleware. Nothing in front of Verify may call
// c.Bind or read the body (BodyDump, Decompress): its bytes would be gone or
// others, and Verify answers 500 or 401 and says so in the log.
func echoRouter(s *service) http.Handler {
	e := echo.New()

	// Any, not POST: Verify answers other methods itself, see chi.go.
	e.Any("/webhooks/shop", echo.WrapHandler(webhook.Verify("shop", s.shop)(s.inbox.Receive(orders))))

	// WrapHandler sets the path values of net/http since version 5. With 4, do it
	// as gin.go does.
	e.Any("/webhooks/tenants/:tenant", echo.WrapHandler(webhook.Verify("tenants", s.tenants)(s.inbox.Receive(orders))))

	e.Any("/orders", echoOrder, echo.WrapMiddleware(webhook.Verify("shop", s.shop)))
	return e
}

// echoOrder binds the body behind Verify, where it may.
func echoOrder(c *echo.Context) error {
	var o order
	if err := c.Bind(&o); err != nil {
		return c.String(http.StatusUnprocessableEntity, "not an order")
	}
	return c.JSON(http.StatusOK, map[string]string{
		"order": o.Data.Number, "event": webhook.Events(c.Request().Context())[0].ID,
	})
}
