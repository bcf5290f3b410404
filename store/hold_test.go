package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

func TestHold_String(t *testing.T) {
	for want, h := range map[string]store.Hold{
		`paused`:                                {Queue: "inbox", Destination: "billing", Kind: store.Paused},
		`paused: "the ledger is moved"`:         {Kind: store.Paused, Reason: "the ledger is moved"},
		`slowed, for 4s: "answered 503"`:        {Kind: store.Slowed, For: 4100 * time.Millisecond, Reason: "answered 503"},
		`disabled, key "cus_1": "forged\nline"`: {Kind: store.Disabled, OrderKey: "cus_1", Reason: "forged\nline"},
		`released`:                              {Release: true},
		`released paused`:                       {Release: true, Kind: store.Paused},
	} {
		require.Equal(t, want, h.String())
		require.Equal(t, "["+want+"]", fmt.Sprint([]store.Hold{h}), "as Stats.Held is printed")
	}
}
