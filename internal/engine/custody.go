package engine

import "sync"

// process is where all engines of this process account for the leases that they
// hold: what kills the process loses all of them.
var process custody

// custody lets a suspect be attempted alone: while it runs, the process holds no
// other lease and takes none, so that nobody else pays for what it does. The zero
// value is ready.
type custody struct {
	mu      sync.Mutex
	held    int           // leases that are held, or are being asked for
	suspect *lease        // waits for the others to end, or runs
	alone   chan struct{} // closed when the suspect's is the only one; nil: nobody waits
}

// suspectAfter is the number of lost attempts from which a delivery runs alone:
// it may be what killed the process, and innocents should not pay for it twice.
const suspectAfter = 2

// ask accounts for one lease that is about to be taken, and returns whether it
// may be: not while a suspect waits or runs. Each true is followed by one part.
func (c *custody) ask() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspect != nil {
		return false
	}
	c.held++
	return true
}

// hold accounts for n more leases, whose taker was allowed to ask and has not
// parted yet.
func (c *custody) hold(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held += n
}

// part ends the account of a lease that was not taken.
func (c *custody) part() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parted()
}

// end ends the account of l: it is settled or lost, or is past its time and may
// never end, or its store takes no settle, since nobody must wait for that. A second
// call does nothing.
func (c *custody) end(l *lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	if c.suspect == l {
		c.suspect, c.alone = nil, nil
	}
	c.parted()
}

// parted counts one less, and lets the suspect begin if its is the last. c.mu is
// held.
func (c *custody) parted() {
	c.held--
	if c.held == 1 && c.alone != nil {
		close(c.alone)
		c.alone = nil
	}
}

// isolate waits until l's is the only lease of the process, and returns whether
// it is: false if another suspect is first, if stop is closed, or if l's context
// ends before. Until l ends no other lease is taken.
func (c *custody) isolate(l *lease, stop <-chan struct{}) bool {
	c.mu.Lock()
	if c.suspect != nil || l.ended {
		c.mu.Unlock()
		return false
	}
	c.suspect = l
	if c.held == 1 {
		c.mu.Unlock()
		return true
	}
	alone := make(chan struct{})
	c.alone = alone
	c.mu.Unlock()
	select {
	case <-alone:
		return true
	case <-stop:
	case <-l.ctx.Done():
	}
	return false // it ends at once, and lets the others go on
}
