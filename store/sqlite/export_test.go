package sqlite

import "time"

// Advance moves the store's clock.
func (s *Store) Advance(d time.Duration) { s.offset.Add(d.Microseconds()) }
