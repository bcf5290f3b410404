package sqlite

// The deliveries of one destination and ordering key form a chain, in the order of
// their commits. Its head is the only one that a claim may take: the others have no
// ready time, so that no claim ever sees them, however many there are. Who changes
// a member calls arrange, in the same transaction.

const (
	// A chain that is new has its first member for a head. Otherwise nothing is
	// returned: it has one.
	insertChain = `
INSERT INTO webhook_chain (destination, key, head) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING id`
	selectChain     = `SELECT id FROM webhook_chain WHERE destination = ? AND key = ?`
	selectChainByID = `SELECT destination, key, head, blocked FROM webhook_chain WHERE id = ?`
	updateChain     = `UPDATE webhook_chain SET head = ?, blocked = ? WHERE id = ?`
	deleteChain     = `DELETE FROM webhook_chain WHERE id = ?`

	selectMember = `SELECT id, state, lane, due, until FROM webhook_delivery WHERE id = ? AND chain = ?`
	// By webhook_delivery_chain: the least id of the members.
	selectFirstMember = `SELECT id, state, lane, due, until FROM webhook_delivery WHERE chain = ? ORDER BY id LIMIT 1`
	readyMember       = `UPDATE webhook_delivery SET ready = ? WHERE id = ?`
)

// join makes a delivery the last of its ordering key, and says whether it is its
// head too. The delivery's row need not be there yet.
func (w *work) join(d *destination, key string, delivery int64) (chain int64, head bool, err error) {
	found, err := one(w.db, insertChain, []any{d.id, []byte(key), delivery}, &chain)
	if err != nil || found {
		return chain, true, err
	}
	_, err = one(w.db, selectChain, []any{d.id, []byte(key)}, &chain)
	return chain, false, err
}

// member is what arrange needs of one.
type member struct {
	id, lane, due, until int64
	state                string
}

func (w *work) member(query string, args ...any) (*member, error) {
	m := &member{}
	found, err := one(w.db, query, args, &m.id, &m.state, &m.lane, &m.due, &m.until)
	if err != nil || !found {
		return nil, err
	}
	return m, nil
}

// arrange finds the head of a chain and makes it, and nothing else, claimable. A
// member that is being processed stays head: one that is queued again takes its old
// place behind it. A dead one blocks the chain, until somebody acts.
func (w *work) arrange(chain int64) error {
	var destination, was, blocked int64
	var key string
	found, err := one(w.db, selectChainByID, []any{chain}, &destination, &key, &was, &blocked)
	if err != nil {
		return err
	}
	if !found {
		return missing("chain", chain)
	}
	d, err := w.destinationByID(destination)
	if err != nil {
		return err
	}
	old, err := w.member(selectMember, was, chain)
	if err != nil {
		return err
	}
	head := old
	if old == nil || old.state != processing {
		if head, err = w.member(selectFirstMember, chain); err != nil {
			return err
		}
	}
	if head == nil {
		if blocked != 0 {
			d.keysBlocked--
		}
		_, err := w.db.exec(deleteChain, chain)
		return err
	}
	if old != nil && old.id != head.id {
		if _, err := w.db.exec(readyMember, nil, old.id); err != nil {
			return err
		}
	}
	if err := w.readyHead(d, key, head); err != nil {
		return err
	}

	since := blocked
	switch isDead := head.state == dead; {
	case isDead && blocked == 0:
		since = w.now
		d.keysBlocked++
	case !isDead && blocked != 0:
		since = 0
		d.keysBlocked--
	}
	if head.id == was && since == blocked {
		return nil
	}
	_, err = w.db.exec(updateChain, head.id, orNull(since), chain)
	return err
}

// readyHead says when a head may be claimed.
func (w *work) readyHead(d *destination, key string, head *member) error {
	if head.state == dead {
		_, err := w.db.exec(readyMember, nil, head.id)
		return err
	}
	held, err := w.keyHeld(d, key)
	if err != nil {
		return err
	}
	at := max(head.due, held)
	if head.state == processing {
		at = max(head.until, held)
	}
	if _, err := w.db.exec(readyMember, at, head.id); err != nil {
		return err
	}
	l, err := w.laneOf(head.lane)
	if err != nil {
		return err
	}
	if head.state == processing {
		w.expires(l, at)
	} else {
		w.ready(d, l, at)
	}
	return nil
}
