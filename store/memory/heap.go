package memory

// heap is a binary heap whose items know where they are in it, so that any of
// them can be moved or taken out in logarithmic time. The zero item stands for
// none.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	at    func(T) *int // where an item keeps its index plus one; 0: it is not in
}

func (h *heap[T]) len() int { return len(h.items) }

// first returns the least item, the zero one if there is none.
func (h *heap[T]) first() (x T) {
	if len(h.items) > 0 {
		x = h.items[0]
	}
	return x
}

func (h *heap[T]) has(x T) bool { return *h.at(x) != 0 }

// put adds x, or moves it to where it now belongs.
func (h *heap[T]) put(x T) {
	at := h.at(x)
	if *at == 0 {
		h.items = append(h.items, x)
		*at = len(h.items)
	}
	h.settle(*at - 1)
}

// drop takes x out, if it is in.
func (h *heap[T]) drop(x T) {
	at := h.at(x)
	if *at == 0 {
		return
	}
	i, last := *at-1, len(h.items)-1
	h.swap(i, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	*at = 0
	if i < last {
		h.settle(i)
	}
}

// init restores the order after many items changed at once.
func (h *heap[T]) init() {
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap[T]) settle(i int) {
	if !h.up(i) {
		h.down(i)
	}
}

// up reports whether the item at i moved.
func (h *heap[T]) up(i int) bool {
	from := i
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i != from
}

func (h *heap[T]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.items); child++ {
			if h.less(h.items[child], h.items[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.at(h.items[i]) = i + 1
	*h.at(h.items[j]) = j + 1
}
