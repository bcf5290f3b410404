package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/surehook/webhook"
)

// ginEngine mounts net/http's handlers with gin.WrapH. Nothing in front of Verify
// may bind the body (ShouldBind, BindJSON, a logger of bodies): its bytes would be
// gone, and Verify answers 500 and says so in the log.
func ginEngine(s *service) http.Handler {
	r := gin.New()
	r.Use(gin.Recovery())

	// Any, not POST: Verify answers other methods itself, see chi.go.
	r.Any("/webhooks/shop", gin.WrapH(webhook.Verify("shop", s.shop)(s.inbox.Receive(orders))))

	r.Any("/webhooks/tenants/:tenant", ginPathValues,
		gin.WrapH(webhook.Verify("tenants", s.tenants)(s.inbox.Receive(orders))))

	r.Any("/orders", ginMiddleware(webhook.Verify("shop", s.shop)), ginOrder)
	return r
}

// ginPathValues shows gin's parameters to net/http's handlers, which gin.WrapH
// does not: Verifier.Secrets asks for them with Request.PathValue.
func ginPathValues(c *gin.Context) {
	for _, p := range c.Params {
		c.Request.SetPathValue(p.Key, p.Value)
	}
}

// ginMiddleware makes a middleware of net/http one of gin. Where it does not call
// the next handler it has answered, and gin must be told: gin runs the handlers
// behind it all the same, unless the context is aborted. With a forged request
// that would be the end of the protection.
func ginMiddleware(mw func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		called := false
		mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			called = true
			c.Request = r // has the events in its context, and the body again
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !called {
			c.Abort()
		}
	}
}

// ginOrder binds the body behind Verify, where it may.
func ginOrder(c *gin.Context) {
	var o order
	if err := c.ShouldBindJSON(&o); err != nil {
		c.String(http.StatusUnprocessableEntity, "not an order")
		return
	}
	c.JSON(http.StatusOK, gin.H{
		"order": o.Data.Number, "event": webhook.Events(c.Request.Context())[0].ID,
	})
}
