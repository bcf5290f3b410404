package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each statement that runs often is served by the index that its comment names:
// none reads a table from end to end, and none sorts.
func TestPlans(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"), Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	for name, c := range map[string]struct{ query, uses string }{
		"selectKnown":         {selectKnown, "PRIMARY KEY"},
		"selectKnowns":        {selectKnowns, "PRIMARY KEY"},
		"selectFresh":         {selectFresh, "PRIMARY KEY (rowid>? AND rowid<?)"},
		"selectDueLanes":      {selectDueLanes, "webhook_lane_queue (queue=? AND next<?)"},
		"selectDueLanesOf":    {selectDueLanesOf, "webhook_lane_destination (destination=? AND next<?)"},
		"selectDueQueues":     {selectDueQueues, "webhook_lane_queue (queue=? AND next<?)"},
		"selectReady":         {selectReady, "webhook_delivery_ready (lane=? AND ready<?)"},
		"selectNextReady":     {selectNextReady, "webhook_delivery_ready (lane=? AND ready>?)"},
		"voidLane":            {voidLane, "webhook_delivery_ready (lane=? AND ready>? AND ready<?)"},
		"selectFirstMember":   {selectFirstMember, "webhook_delivery_chain (chain=?)"},
		"selectMember":        {selectMember, "PRIMARY KEY"},
		"selectHeld":          {selectHeld, "PRIMARY KEY (destination=? AND key=?)"},
		"settleDelivery":      {settleDelivery, "PRIMARY KEY"},
		"settleProcessed":     {settleProcessed, "PRIMARY KEY"},
		"selectStats oldest":  {selectStats, "webhook_delivery_queued (destination=?)"},
		"selectStats blocked": {selectStats, "webhook_chain_blocked (destination=? AND blocked>?)"},
		"selectQueueStats":    {selectQueueStats, "webhook_delivery_queued (destination=?)"},
		"selectForgettable":   {selectForgettable, "webhook_past_known (queue=? AND known<?)"},
		"selectForgettable 2": {selectForgettable, "webhook_event_bare (queue=? AND known<?)"},
		"selectPurgeable":     {selectPurgeable, "PRIMARY KEY (rowid>? AND rowid<?)"},
		"selectReceivedFrom":  {selectReceivedFrom, "PRIMARY KEY (rowid>?)"},
		"findDeliveries":      {findDeliveries + " ORDER BY d.id LIMIT ?", "PRIMARY KEY (rowid>? AND rowid<?)"},
		"findDeliveries dead": {findDeliveries + " AND d.state = 'dead' ORDER BY d.id LIMIT ?", "webhook_delivery_dead (queue=? AND id>? AND id<?)"},
		"selectAttempts":      {selectAttempts, "PRIMARY KEY (delivery=?)"},
		"selectReported":      {selectReported, "PRIMARY KEY"},
		"selectKey":           {selectKey, "PRIMARY KEY (key=?)"},
		"releaseKey":          {releaseKey, "PRIMARY KEY (key=?)"},
		"deleteEndedKeys":     {deleteEndedKeys, "webhook_key_until (until<?)"},
	} {
		rows, err := st.read.Query("EXPLAIN QUERY PLAN "+c.query, make([]any, strings.Count(c.query, "?"))...)
		require.NoError(t, err, name)
		defer rows.Close()
		plan := ""
		for rows.Next() {
			var id, parent, unused int
			var detail string
			require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
			plan += detail + "\n"
		}
		require.NoError(t, rows.Err(), name)
		require.Contains(t, plan, c.uses, name)
		require.NotContains(t, plan, "TEMP B-TREE", name)
		for line := range strings.Lines(plan) {
			// The named of one event, and the few queues.
			if strings.HasPrefix(line, "SCAN") && !strings.Contains(line, "SCAN q") {
				t.Errorf("%s scans: %s", name, line)
			}
		}
	}
}
