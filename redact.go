package webhook

import (
	"fmt"
	"slices"
)

// redacted returns e with what InboxConfig.Redact leaves of it. What it does not
// leave is stored nowhere, and no handler sees it.
func (i *Inbox) redacted(e Event) (Event, error) {
	if i.c.Redact == nil {
		return e, nil
	}
	// A copy, so that it may be changed in place: the sender's bytes are shared, with
	// what stands behind Receive and with the other events of a batch.
	given := e
	given.Headers, given.Body = e.Headers.Clone(), slices.Clone(e.Body)
	left, err := guarded("InboxConfig.Redact", func() Event { return i.c.Redact(given) })
	if err != nil {
		return Event{}, err
	}
	if n := len(left.Subject); n > maxText {
		return Event{}, &misuseError{fmt.Sprintf("InboxConfig.Redact returned a Subject of %d bytes, at most %d", n, maxText)}
	}
	e.Headers, e.Body, e.Subject = left.Headers, left.Body, left.Subject
	return e, nil
}
