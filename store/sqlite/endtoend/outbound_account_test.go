package endtoend

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// delivered is a delivery as the store and its endpoint have it.
type delivered struct {
	id            string // of the event
	state         store.State
	attempts      int // in the store's record
	missed        int // of those, how many settled nothing or failed, though the endpoint may have taken it
	came, took    int // by the endpoint
	under, reason string
}

// outboundAccount is what a run of the outbound half left behind.
type outboundAccount struct {
	committed  map[string]bool // keys of events that are known to be committed
	business   map[string]bool // of those, what was committed beside the event
	deliveries map[[2]string]*delivered
	forged     int
	endings    map[string]int // of attempts: outcomes, and classes of failures
}

func (l *outboundAccount) count(s store.State) (n int) {
	for _, d := range l.deliveries {
		if d.state == s {
			n++
		}
	}
	return n
}

// again returns how many deliveries an endpoint took more than once.
func (l *outboundAccount) again() (n int) {
	for _, d := range l.deliveries {
		if d.took > 1 {
			n++
		}
	}
	return n
}

// problems returns what must not be, one line each.
func (l *outboundAccount) problems() (ps []string) {
	for key := range l.committed {
		for _, endpoint := range endpointsOf(key) {
			if d := l.deliveries[[2]string{key, endpoint}]; d == nil || d.state == "" {
				ps = append(ps, key+" to "+endpoint+": committed and lost")
			}
		}
	}
	for k, d := range l.deliveries {
		for _, p := range d.problems(k[0], l.business[k[0]]) {
			ps = append(ps, k[0]+" to "+k[1]+": "+p)
		}
	}
	if l.forged > 0 {
		ps = append(ps, fmt.Sprintf("%d requests whose signature does not fit", l.forged))
	}
	slices.Sort(ps)
	return ps
}

func (d *delivered) problems(key string, business bool) (ps []string) {
	kind, _, _ := strings.Cut(key, "-")
	is := func(wrong bool, format string, args ...any) {
		if wrong {
			ps = append(ps, fmt.Sprintf(format, args...))
		}
	}
	is(kind == sentUndo, "rolled back, and stored as %q, posted %d times", d.state, d.came)
	is(kind == sentIn && !business, "sent without its transaction")
	is(d.state == "", "posted, and never stored")
	is(d.state != store.Processed && d.state != store.Dead && d.state != "", "is %s", d.state)
	is(d.state == store.Processed && d.took == 0, "processed, and never taken")
	is(d.came > d.attempts, "posted %d times in %d attempts", d.came, d.attempts)
	is(d.state == store.Processed && d.took > 1+d.missed, "taken %d times, and only %d settles are missing", d.took, d.missed)
	is(strings.Contains(d.under, " "), "came under several ids: %s", d.under)
	is(d.under != "" && d.under != d.id && d.id != "", "came as %s, is stored as %s", d.under, d.id)
	return ps
}

// outboundAccount reads it from the files and the store.
func (s *stage) outboundAccount(posts string) outboundAccount {
	s.t.Helper()
	l := outboundAccount{committed: map[string]bool{}, business: map[string]bool{}, deliveries: map[[2]string]*delivered{}, endings: map[string]int{}}
	for _, line := range s.lines(s.acked) {
		l.committed[line] = true
	}
	for _, line := range s.lines(posts) {
		var p posted
		_, err := fmt.Sscan(line, &p.what, &p.key, &p.endpoint, &p.id)
		require.NoError(s.t, err, line)
		l.note(p)
	}
	st, err := sqlite.Open(s.t.Context(), s.db, sqlite.Config{})
	require.NoError(s.t, err)
	defer st.Close()
	s.readDeliveries(st, l)
	s.readBusiness(st, l)
	return l
}

func (l *outboundAccount) delivery(key, endpoint string) *delivered {
	k := [2]string{key, endpoint}
	if l.deliveries[k] == nil {
		l.deliveries[k] = &delivered{}
	}
	return l.deliveries[k]
}

func (l *outboundAccount) note(p posted) {
	if p.what == wroteForged {
		l.forged++
		return
	}
	d := l.delivery(p.key, p.endpoint)
	switch p.what {
	case wroteCame:
		d.came++
		if !slices.Contains(strings.Fields(d.under), p.id) {
			d.under = strings.TrimSpace(d.under + " " + p.id)
		}
	case wroteTook:
		d.took++
	}
}

// lines returns those of a file; none of one that is not there.
func (s *stage) lines(path string) (lines []string) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(s.t, err)
	defer f.Close()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	require.NoError(s.t, scanner.Err())
	return lines
}

func (s *stage) readDeliveries(st *sqlite.Store, l outboundAccount) {
	q := webhook.NewQueue(st, s.queue)
	for found, err := range q.Find(s.t.Context(), store.Filter{}) {
		require.NoError(s.t, err)
		full, err := q.Get(s.t.Context(), found.ID)
		require.NoError(s.t, err)
		key, err := keyOf(full.Record.Body)
		require.NoError(s.t, err)
		require.Equal(s.t, key, full.Record.Subject)
		d := l.delivery(key, full.Destination)
		require.Empty(s.t, d.state, "a delivery was stored twice")
		d.id, d.state, d.reason, d.attempts = full.Record.ID, full.State, full.Reason, len(full.Attempts)
		for _, a := range full.Attempts {
			l.endings[a.Outcome]++
			if a.Outcome != store.OutcomeProcessed {
				d.missed++
				l.endings[a.Class]++
			}
		}
	}
}

// readBusiness reads what was committed beside the events: so were they.
func (s *stage) readBusiness(st *sqlite.Store, l outboundAccount) {
	require.NoError(s.t, st.Transact(s.t.Context(), func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT key FROM business")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key string
			if err := rows.Scan(&key); err != nil {
				return err
			}
			l.committed[key], l.business[key] = true, true
		}
		return rows.Err()
	}))
}
