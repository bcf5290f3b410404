package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

func TestBatch_Validate(t *testing.T) {
	record := &store.Record{}
	target := func(names ...string) (to []store.Target) {
		for _, n := range names {
			to = append(to, store.Target{Destination: n})
		}
		return to
	}
	for name, c := range map[string]struct {
		batch store.Batch
		want  string
	}{
		"empty":             {store.Batch{}, ""},
		"add":               {store.Batch{Adds: []store.Add{{Record: record, To: target("a", "b")}}}, ""},
		"for nobody":        {store.Batch{Adds: []store.Add{{Record: record}}}, ""},
		"release of all":    {store.Batch{Holds: []store.Hold{{Destination: "a", Release: true}}}, ""},
		"no record":         {store.Batch{Adds: []store.Add{{}}}, "add 0: no record"},
		"no destination":    {store.Batch{Adds: []store.Add{{Record: record}, {Record: record, To: target("a", "")}}}, "add 1: target 1: no destination"},
		"destination twice": {store.Batch{Adds: []store.Add{{Record: record, To: target("a", "b", "a")}}}, `target 2: destination "a" twice`},
		"settle to nothing": {store.Batch{Settles: []store.Settle{{}}}, `settle 0: state ""`},
		"settle to a lease": {store.Batch{Settles: []store.Settle{{To: store.Processing}}}, `state "processing"`},
		"hold of nothing":   {store.Batch{Holds: []store.Hold{{Kind: store.Paused}}}, "hold 0: no destination"},
		"hold of no kind":   {store.Batch{Holds: []store.Hold{{Destination: "a"}}}, `kind ""`},
		"hold of a kind":    {store.Batch{Holds: []store.Hold{{Destination: "a", Kind: "tired"}}}, `kind "tired"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.batch.Validate()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, store.ErrBadData)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestChange_Validate(t *testing.T) {
	for name, c := range map[string]struct {
		change store.Change
		valid  bool
	}{
		"nothing":           {store.Change{}, true},
		"queued":            {store.Change{To: store.Queued, Destination: "x"}, true},
		"dead":              {store.Change{To: store.Dead, Erase: true}, true},
		"discarded":         {store.Change{To: store.Discarded, Erase: true}, true},
		"erased":            {store.Change{Erase: true}, true},
		"erased and queued": {store.Change{To: store.Queued, Erase: true}, false},
		"processing":        {store.Change{To: store.Processing}, false},
		"processed":         {store.Change{To: store.Processed}, false},
		"a word":            {store.Change{To: "gone"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.change.Validate()
			if c.valid {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, store.ErrBadData)
		})
	}
}
