package store

import "fmt"

// Validate returns ErrBadData, with the item, for the first that no moment would
// make right; a backend asks it before its first statement, and may refuse more,
// such as a body that is too large for it. Refused are
//
//   - an Add without a Record, with a Target that has no Destination, or with two
//     that have the same;
//   - a Settle to a state that is not Processed, Dead, Discarded or Queued;
//   - a Hold without a Destination, or of a Kind that is none of the four, unless it
//     releases all of them with Kind "".
func (b *Batch) Validate() error {
	for i := range b.Adds {
		if err := b.Adds[i].validate(); err != nil {
			return fmt.Errorf("add %d: %w", i, err)
		}
	}
	for i := range b.Settles {
		switch to := b.Settles[i].To; to {
		case Processed, Dead, Discarded, Queued:
		default:
			return fmt.Errorf("settle %d: state %q: %w", i, to, ErrBadData)
		}
	}
	for i := range b.Holds {
		if err := b.Holds[i].validate(); err != nil {
			return fmt.Errorf("hold %d: %w", i, err)
		}
	}
	return nil
}

// Validate returns ErrBadData for a Change that no state of a delivery would make
// right; a backend's Update asks it first:
//
//   - To is none of Dead, Discarded, Queued and "";
//   - Erase with Queued: what is erased cannot be attempted.
func (c *Change) Validate() error {
	switch c.To {
	case "", Dead, Discarded:
		return nil
	case Queued:
		if c.Erase {
			return fmt.Errorf("what is erased cannot be queued: %w", ErrBadData)
		}
		return nil
	default:
		return fmt.Errorf("to state %q: %w", c.To, ErrBadData)
	}
}

func (a *Add) validate() error {
	if a.Record == nil {
		return fmt.Errorf("no record: %w", ErrBadData)
	}
	var seen map[string]bool
	if len(a.To) > 1 { // nearly never: one is worth no map
		seen = make(map[string]bool, len(a.To))
	}
	for i := range a.To {
		switch name := a.To[i].Destination; {
		case name == "":
			return fmt.Errorf("target %d: no destination: %w", i, ErrBadData)
		case seen[name]:
			return fmt.Errorf("target %d: destination %q twice: %w", i, name, ErrBadData)
		case seen != nil:
			seen[name] = true
		}
	}
	return nil
}

func (h Hold) validate() error {
	if h.Destination == "" {
		return fmt.Errorf("no destination: %w", ErrBadData)
	}
	switch h.Kind {
	case Paused, Disabled, Broken, Slowed:
		return nil
	case "":
		if h.Release {
			return nil
		}
	}
	return fmt.Errorf("kind %q: %w", h.Kind, ErrBadData)
}
