// Package guard keeps outbound calls away from addresses that are not public:
// whoever may name a URL must not reach what only this machine can. What counts
// is the address being dialled, so that DNS answers, their change between two
// lookups and each address of Happy Eyeballs pass one gate. URLs are looked at
// where they enter as well, for an early answer and for what no address shows:
// scheme, spelling, userinfo.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// Rules say what may be called. The zero value is the safe one: public addresses,
// over https, on the ports 443 and 8443. Rules are not changed once in use, and
// are then safe for concurrent use.
type Rules struct {
	// Development opens what a program on the developer's machine listens on:
	// http, any port, and loopback addresses. Private networks stay closed.
	Development bool

	// Allow opens the addresses that it names, and nothing else of what is
	// closed: a private network, say. What it names is open whatever it is, so
	// keep it narrow: 100.64.0.0/10 has a cloud's metadata service in it, and so
	// has fd00::/8. An IPv6 address with an IPv4 address inside (NAT64, 6to4,
	// Teredo) needs both to be public or named.
	Allow []netip.Prefix

	// Deny closes the addresses that it names, whatever opens them. A network
	// that translates IPv4 under an IPv6 prefix of its own (RFC 6052, section
	// 2.2) names that prefix here: no table knows it.
	Deny []netip.Prefix

	// Ports are those that may be called; default 443 and 8443. In Development
	// it is any.
	Ports []uint16
}

// defaultPorts are https and its usual second port.
var defaultPorts = []uint16{443, 8443}

// The settings that open something, as the text of an Error names them.
const (
	Development = "Guard.Development"
	Allow       = "Guard.Allow"
	Ports       = "Guard.Ports"
)

// Error is a refusal. Its text names the rule, what broke it, and the setting
// that would allow it; "webhook: " is for who returns it to put before. Of a URL it
// holds at most scheme, host and port.
type Error struct {
	Target  string // address or host, with its port where it is about that; empty: the URL as a whole
	Reason  string // the rule
	Setting string // one of the constants; empty: nothing allows it
}

func (e *Error) Error() string {
	text := "blocked: " + e.Problem()
	switch e.Setting {
	case Development:
		text += "; Guard.Development allows http and loopback"
	case Allow:
		text += "; to allow it, name its address in Guard.Allow"
	case Ports:
		text += "; to allow it, name it in Guard.Ports"
	}
	return text
}

// Problem is the text for whoever wrote the URL: without the setting, which is not
// theirs.
func (e *Error) Problem() string {
	if e.Target == "" {
		return e.Reason
	}
	return e.Target + ": " + e.Reason
}

// Validate returns what is wrong with the rules; the error names the field. It
// refuses prefixes that would name less or more than they seem to.
func (r Rules) Validate() error {
	for _, list := range []struct {
		field    string
		prefixes []netip.Prefix
	}{{Allow, r.Allow}, {"Guard.Deny", r.Deny}} {
		for _, p := range list.prefixes {
			switch {
			case !p.IsValid():
				return fmt.Errorf("%s has a prefix that is none: make it with netip.ParsePrefix", list.field)
			case p.Addr().Is4In6():
				return fmt.Errorf("%s: %v: write IPv4 as IPv4, this form matches nothing", list.field, p)
			case p != p.Masked():
				return fmt.Errorf("%s: %v: write %v for the network, or %v for the address", list.field, p, p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
			}
		}
	}
	if slices.Contains(r.Ports, 0) {
		return errors.New("Guard.Ports: 0 is no port: 1 to 65535")
	}
	return nil
}

// Dialer returns a copy of base, nil for the zero Dialer, that asks CheckAddr for
// each address before it connects there: its error is then an *Error. A control
// function of base is called after that, and only for what may be called.
func (r Rules) Dialer(base *net.Dialer) *net.Dialer {
	var d net.Dialer
	if base != nil {
		d = *base
	}
	next, control := d.ControlContext, d.Control // net.Dialer ignores the second where the first is set
	d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if err := r.checkDial(network, address); err != nil {
			return err
		}
		switch {
		case next != nil:
			return next(ctx, network, address, c)
		case control != nil:
			return control(network, address, c)
		default:
			return nil
		}
	}
	return &d
}

// checkDial is CheckAddr for what a net.Dialer hands to its control function.
func (r Rules) checkDial(network, address string) error {
	if network != "tcp4" && network != "tcp6" {
		return &Error{Reason: "only TCP is dialled"}
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Error{Reason: "the address being dialled is unreadable"}
	}
	return r.CheckAddr(a)
}
