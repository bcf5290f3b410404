package memory

// Keys returns how many keys of Deduplicate there are, those that have ended
// included.
func (s *Store) Keys() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.keys.ends.len(); n != len(s.keys.of) {
		return -1
	}
	return len(s.keys.of)
}
