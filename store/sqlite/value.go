package sqlite

import (
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

// The states as they are written.
const (
	queued     = string(store.Queued)
	processing = string(store.Processing)
	processed  = string(store.Processed)
	dead       = string(store.Dead)
	discarded  = string(store.Discarded)
)

// orNull is n as it is written where 0 means that there is none.
func orNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// micros is t as it is written, NULL if it is zero.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// instant is the time of a column that is set.
func instant(micros int64) time.Time {
	return time.UnixMicro(micros).UTC()
}

// instantOr is the time of a column, zero if that is NULL.
func instantOr(v any) time.Time {
	if n, ok := v.(int64); ok {
		return instant(n)
	}
	return time.Time{}
}

// after is the instant a span after now. No span is too long: 292 years are fewer
// microseconds than fit beside now.
func after(now int64, span time.Duration) int64 {
	return now + span.Microseconds()
}

// blob is b as it is written where NULL means something else than empty.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// missing says that the file contradicts itself.
func missing(what string, id int64) error {
	return fmt.Errorf("%s %d is referred to and is not there", what, id)
}
