package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// However many deliveries an event is born with, each has its own row, lease and end.
func TestBorn_Many(t *testing.T) {
	st := open(t, file(t))
	for _, n := range []int{0, 1, 2, 15, 16, 17, 33, 40} {
		a := event(fmt.Sprintf("evt_%d", n))
		for i := range n {
			target := store.Target{Destination: fmt.Sprintf("d%02d", i), Lease: time.Minute}
			switch {
			case n%2 == 0 && i%7 == 3:
				target.Lease = 2 * time.Minute
			case i%11 == 5:
				target.Lease = 0
			case i%13 == 8:
				target.After = time.Hour
			}
			a.To = append(a.To, target)
		}
		added := add(t, st, a)[0]
		require.Len(t, added.Deliveries, n)
		found := find(t, st, a.Record.ID)
		require.Len(t, found, n)
		for i, d := range found {
			want := added.Deliveries[i]
			require.Equal(t, want.ID, d.ID)
			require.Equal(t, a.To[i].Destination, d.Destination)
			require.Equal(t, want.State, d.State)
			require.Equal(t, want.Token, d.Token)
			require.Equal(t, want.Until, d.Until)
			require.Equal(t, a.To[i].Lease > 0 && a.To[i].After == 0, d.State == store.Processing)
			if d.State == store.Processing {
				require.Equal(t, a.To[i].Lease, d.Until.Sub(d.Received))
				res, err := st.Commit(t.Context(), &store.Batch{Settles: []store.Settle{processed(d)}})
				require.NoError(t, err)
				require.Equal(t, store.Done, res.Settles[0])
			}
		}
	}
	for _, d := range claim(t, st) {
		require.Contains(t, []string{"d05", "d16", "d27", "d38"}, d.Destination)
	}
}
