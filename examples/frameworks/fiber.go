package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/surehook/webhook"
)

// fiberApp uses the check on bytes, Verifier.Verify, and Inbox.Add: fiber is not
// net/http, and its adaptor would copy each request twice and lose the values in
// its context.
func fiberApp(s *service) *fiber.App {
	app := fiber.New(fiber.Config{
		// Fiber reads the body before any handler, so its bounds are those that
		// hold. Its default is 4 MiB: too much for most senders, and too little for
		// those that send more, whose genuine requests it would refuse.
		BodyLimit:   bodyLimit,
		ReadTimeout: 10 * time.Second,
	})

	app.All("/webhooks/shop", s.fiberVerify("shop", s.shop), s.fiberReceive(orders))

	// A Request made of bytes has no path values: the tenant goes by the context.
	tenants := s.tenants
	tenants.Secrets = func(ctx context.Context, _ *webhook.Request) ([]webhook.Secret, error) {
		tenant, _ := ctx.Value(tenantKey{}).(string)
		return s.secretsOf(tenant), nil
	}
	app.All("/webhooks/tenants/:tenant", fiberTenant, s.fiberVerify("tenants", tenants), s.fiberReceive(orders))

	app.All("/orders", s.fiberVerify("shop", s.shop), fiberOrder)
	return app
}

type (
	tenantKey struct{}
	eventsKey struct{}
)

// fiberTenant copies the tenant, which becomes a part of the event: see fiberRequest.
func fiberTenant(c fiber.Ctx) error {
	c.SetContext(context.WithValue(c.Context(), tenantKey{}, strings.Clone(c.Params("tenant"))))
	return c.Next()
}

// fiberVerify is webhook.Verify for fiber: it lets only authentic requests through.
func (s *service) fiberVerify(source string, v webhook.Verifier) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := fiberRequest(c)
		if err != nil {
			return c.Status(fiber.StatusBadRequest).SendString("malformed request")
		}
		events, err := v.Verify(c.Context(), r)
		if answer, ok := errors.AsType[*webhook.Answer](err); ok {
			if answer.Err != nil { // a refusal; else a handshake
				s.logger().WarnContext(c.Context(), "webhook rejected",
					"source", source, "status", answer.Status, "error", answer.Err)
			}
			return fiberAnswer(c, answer)
		}
		if err != nil {
			return err
		}
		for i := range events {
			events[i].Source = source
		}
		fiber.Locals(c, eventsKey{}, events)
		return c.Next()
	}
}

// fiberRequest copies c's request. Fiber uses the memory of a request again as soon
// as the handler returns, when the event's handler may not even have begun.
// BodyRaw, not Body: Body undoes Content-Encoding, and what is signed are the bytes
// as they came.
func fiberRequest(c fiber.Ctx) (*webhook.Request, error) {
	u, err := url.ParseRequestURI(string(c.Request().RequestURI()))
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for name, value := range c.Request().Header.All() {
		header.Add(string(name), string(value))
	}
	return &webhook.Request{Method: c.Method(), URL: u, Header: header, Body: bytes.Clone(c.BodyRaw())}, nil
}

func fiberAnswer(c fiber.Ctx, a *webhook.Answer) error {
	for name, values := range a.Header {
		c.Set(name, strings.Join(values, ", "))
	}
	return c.Status(a.Status).Send(a.Body)
}

// fiberReceive is Inbox.Receive for fiber: it answers 200 when the events are
// durable, and not before.
func (s *service) fiberReceive(handlers ...string) fiber.Handler {
	return func(c fiber.Ctx) error {
		events := fiber.Locals[[]webhook.Event](c, eventsKey{})
		if events == nil { // without fiberVerify in front: nobody has checked anything
			return c.Status(fiber.StatusInternalServerError).SendString("webhook not configured")
		}
		for i := range events {
			events[i].To = handlers
		}
		_, err := s.inbox.Add(c.Context(), events...)
		switch {
		case err == nil:
			return c.SendStatus(fiber.StatusOK)
		case errors.Is(err, webhook.ErrMalformed):
			return c.Status(fiber.StatusBadRequest).SendString("malformed request")
		default: // the sender is to come again
			s.logger().ErrorContext(c.Context(), "webhook not stored", "error", err)
			c.Set(fiber.HeaderRetryAfter, "10")
			return c.Status(fiber.StatusServiceUnavailable).SendString("try again later")
		}
	}
}

func (s *service) logger() *slog.Logger {
	if s.telemetry.Logger != nil {
		return s.telemetry.Logger
	}
	return slog.Default()
}

// fiberOrder binds the body: in fiber it is there as often as one likes.
func fiberOrder(c fiber.Ctx) error {
	var o order
	if err := c.Bind().JSON(&o); err != nil {
		return c.Status(fiber.StatusUnprocessableEntity).SendString("not an order")
	}
	return c.JSON(fiber.Map{
		"order": o.Data.Number, "event": fiber.Locals[[]webhook.Event](c, eventsKey{})[0].ID,
	})
}
