package provider_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What follows from one action of a merchant's shares X-Shopify-Event-Id, and is
// several events all the same.
func TestShopify_IDs(t *testing.T) {
	s := named("shopify")
	v := s.verifier(t, s.secrets[0])
	var ids []string
	for _, delivery := range []string{"b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "c54557e4-bdd9-4b37-8a5f-bf7d70bcd043"} {
		r := s.withBody(now, delivery, s.body(delivery))
		r.Header.Set("X-Shopify-Event-Id", "98880550-7158-44d4-b7cd-2c97c8a091b5")
		e := accepted(t, v, r)
		require.Equal(t, "98880550-7158-44d4-b7cd-2c97c8a091b5", e.Headers.Get("X-Shopify-Event-Id"))
		ids = append(ids, e.ID)
	}
	require.Equal(t, []string{"b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "c54557e4-bdd9-4b37-8a5f-bf7d70bcd043"}, ids)
}

// The event's own headers stay with it, and its signature does not.
func TestShopify_Headers(t *testing.T) {
	s := named("shopify")
	r := s.genuine()
	r.Header.Set("X-Shopify-Shop-Domain", "example.myshopify.com")
	e := accepted(t, s.verifier(t, s.secrets[0]), r)
	require.Equal(t, "example.myshopify.com", e.Headers.Get("X-Shopify-Shop-Domain"))
	require.NotContains(t, e.Headers, s.header)
	require.Equal(t, time.Date(2023, 11, 14, 22, 13, 10, 250_000_000, time.UTC), e.Time.UTC())
	require.False(t, e.Proof.Time)

	r.Header.Set("X-Shopify-Triggered-At", "yesterday")
	require.Zero(t, accepted(t, s.verifier(t, s.secrets[0]), r).Time, "what cannot be read is left out")
}
