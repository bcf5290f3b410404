package post

import (
	"crypto/x509"
	"net"
)

// Trust makes the client accept the certificates of pool.
func (c *Client) Trust(pool *x509.CertPool) { c.transport.TLSClientConfig.RootCAs = pool }

// Resolve makes the client ask r for addresses.
func (c *Client) Resolve(r *net.Resolver) { c.dialer.Resolver = r }

// AddressOf is what a Result shows of an address.
var AddressOf = addressOf
