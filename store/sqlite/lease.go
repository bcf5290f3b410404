package sqlite

import "sync"

// leaseCache remembers, of the leases that this store gave, what their settles need
// of the delivery's row: a settle is then one statement and not two. It is only a
// shortcut. The statement itself makes sure that the lease is the delivery's last,
// and as long as it is nobody moves the delivery. Deliveries with an ordering key
// are not in it.
type leaseCache struct {
	mu sync.Mutex
	of map[int64]lease // by row
}

// lease is one that was given and committed.
type lease struct {
	row, token, destination, lane int64
}

// leasesMax is how many are remembered: many more than are ever under way.
const leasesMax = 1 << 16

// put remembers leases. It is for after the commit: the row of one that was rolled
// back is given to another delivery.
func (c *leaseCache) put(leases []lease) {
	if len(leases) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of)+len(leases) > leasesMax {
		c.of = make(map[int64]lease, len(leases))
	}
	for _, l := range leases {
		c.of[l.row] = l
	}
}

// take returns the lease of a row under token, and forgets it.
func (c *leaseCache) take(row int64, token uint64) (l lease, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok = c.of[row]
	if ok = ok && uint64(l.token) == token; ok {
		delete(c.of, row)
	}
	return l, ok
}
