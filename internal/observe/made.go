package observe

import (
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// set is one combination of attributes, in the forms in which it is passed: a
// measurement that takes one allocates nothing.
type set struct {
	add     []metric.AddOption
	record  []metric.RecordOption
	observe []metric.ObserveOption
}

func setOf(kvs []attribute.KeyValue) *set {
	one := metric.WithAttributeSet(attribute.NewSet(kvs...))
	return &set{add: []metric.AddOption{one}, record: []metric.RecordOption{one}, observe: []metric.ObserveOption{one}}
}

// maxMade bounds how many combinations of attributes an instrument gets from one
// Observer: a program that makes up sources or destinations as it goes must not
// fill the memory of whoever collects. OpenTelemetry's own bound is 2000 by
// default.
const maxMade = 1000

// made has what was made, by what it was made of. Safe for concurrent use: what
// is there is read without a lock.
type made[K comparable, V any] struct {
	make    func(K) *V
	bounded func(K) K // with other in place of what has no bound

	known atomic.Pointer[map[K]*V]
	mu    sync.Mutex // held to add one
}

func newMade[K comparable, V any](make func(K) *V, bounded func(K) K) *made[K, V] {
	m := &made[K, V]{make: make, bounded: bounded}
	m.known.Store(&map[K]*V{})
	return m
}

// of returns what was made of k; once there are maxMade, what is new gets that of
// k bounded.
func (m *made[K, V]) of(k K) *V {
	known := *m.known.Load()
	if found := known[k]; found != nil {
		return found
	}
	if len(known) >= maxMade {
		k = m.bounded(k)
		if found := known[k]; found != nil {
			return found
		}
	}
	return m.learn(k)
}

// learn adds k to a copy of what is known: that happens some dozen times in a
// program's life.
func (m *made[K, V]) learn(k K) *V {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := *m.known.Load()
	if found := known[k]; found != nil {
		return found
	}
	v := m.make(k)
	more := maps.Clone(known)
	more[k] = v
	m.known.Store(&more)
	return v
}
