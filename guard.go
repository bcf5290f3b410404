package webhook

import "net/netip"

// Guard says what a Dispatcher may call. The zero value: public addresses, over
// https, on the ports 443 and 8443. The address is checked when it is dialled,
// whatever the name stood for before; what is refused is a dead letter at once,
// and its error names the field that would allow it.
type Guard struct {
	Development bool           // http, loopback addresses and any port too
	Allow       []netip.Prefix // further addresses that may be called: exactly these
	Deny        []netip.Prefix // addresses that may not, whatever Allow and Development say
	Ports       []uint16       // default 443 and 8443; in Development any
}
