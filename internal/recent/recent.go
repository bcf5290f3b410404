// Package recent remembers what was made of the keys that were asked for of late.
package recent

import "sync"

// Memo makes a value for a key once, as long as the key is in use: at most twice
// limit are kept. Errors are not. The values are shared: nobody changes one. Safe
// for concurrent use; two may make the same value at once.
type Memo[K comparable, V any] struct {
	limit int
	make  func(K) (V, error)

	mu         sync.RWMutex
	young, old map[K]V // when the young are limit many they become the old
}

// New returns a Memo of what f makes.
func New[K comparable, V any](limit int, f func(K) (V, error)) *Memo[K, V] {
	return &Memo[K, V]{limit: limit, make: f, young: map[K]V{}}
}

// Of returns what was, or now is, made of k.
func (m *Memo[K, V]) Of(k K) (V, error) {
	m.mu.RLock()
	v, young := m.young[k]
	old := false
	if !young {
		v, old = m.old[k]
	}
	m.mu.RUnlock()
	if young {
		return v, nil
	}
	if !old {
		var err error
		if v, err = m.make(k); err != nil {
			return v, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= m.limit {
		m.young, m.old = make(map[K]V, m.limit), m.young
	}
	m.young[k] = v
	return v, nil
}
