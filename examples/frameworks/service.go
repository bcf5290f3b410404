package main

import (
	"context"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
)

// service is what the servers share, whatever their framework.
type service struct {
	inbox     *webhook.Inbox
	shop      webhook.Verifier // one secret
	tenants   webhook.Verifier // the secret of the {tenant} in the path
	secretsOf func(tenant string) []webhook.Secret
	telemetry webhook.Telemetry
}

type config struct {
	store     store.Store
	secret    string            // of the shop
	tenants   map[string]string // the secret of each
	process   webhook.Handler
	telemetry webhook.Telemetry
}

// orders is the handler's name. It is stored with each delivery.
const orders = "orders"

// bodyLimit is what a shop of this kind may send, in bytes.
const bodyLimit = 256 << 10

// order is what the handlers of the frameworks bind the body to.
type order struct {
	Type string `json:"type"`
	Data struct {
		Number string `json:"number"`
	} `json:"data"`
}

func newService(c config) (*service, error) {
	s := &service{telemetry: c.telemetry}
	var err error
	s.inbox, err = webhook.NewInbox(c.store, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: c.telemetry}})
	if err != nil {
		return nil, err
	}
	s.inbox.Handle(orders, c.process)

	if s.shop, err = provider.StandardWebhooks(c.secret); err != nil {
		return nil, err
	}
	for _, secret := range c.tenants { // at the start, not at the first request
		if _, err := provider.StandardWebhooks(secret); err != nil {
			return nil, err
		}
	}
	s.secretsOf = func(tenant string) []webhook.Secret {
		secret, ok := c.tenants[tenant]
		if !ok {
			return nil // 401
		}
		return []webhook.Secret{{Value: secret, Tenant: tenant}}
	}
	if s.tenants, err = provider.StandardWebhooks(); err != nil {
		return nil, err
	}
	s.tenants.Secrets = func(_ context.Context, r *webhook.Request) ([]webhook.Secret, error) {
		return s.secretsOf(r.PathValue("tenant")), nil
	}
	for _, v := range []*webhook.Verifier{&s.shop, &s.tenants} {
		v.BodyLimit, v.Telemetry = bodyLimit, c.telemetry
	}
	return s, nil
}
