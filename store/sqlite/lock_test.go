package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// roleEnv makes the test binary play another process's role on the file that
// fileEnv names.
const (
	roleEnv = "WEBHOOK_SQLITE_TEST_ROLE"
	fileEnv = "WEBHOOK_SQLITE_TEST_FILE"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := roles[role](os.Getenv(fileEnv)); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var roles = map[string]func(path string) error{
	"engine": playEngine,
	"adder":  playAdder,
}

// child is another process in a role.
type child struct {
	*exec.Cmd
	out *bufio.Scanner
}

// start starts a process that is killed at the end of the test, if not before.
func start(t testing.TB, role, path string) *child {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	c := &child{Cmd: exec.Command(exe)}
	c.Env = append(os.Environ(), roleEnv+"="+role, fileEnv+"="+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.out = bufio.NewScanner(out)
	require.NoError(t, c.Start())
	t.Cleanup(func() { c.kill() })
	return c
}

// kill kills it as nothing else does, and waits until it is gone.
func (c *child) kill() {
	_ = c.Process.Kill()
	for c.out.Scan() {
	}
	_ = c.Wait()
}

// line waits for the child to say something.
func (c *child) line(t testing.TB) string {
	t.Helper()
	require.True(t, c.out.Scan(), "the child ended: %v", c.out.Err())
	return c.out.Text()
}

// playEngine claims what there is and waits to be killed.
func playEngine(path string) error {
	st, err := sqlite.Open(context.Background(), path, sqlite.Config{})
	if err != nil {
		return err
	}
	ds, err := st.Claim(context.Background(), queue, store.Claim{Other: 10, Lease: time.Hour})
	if err != nil {
		return err
	}
	fmt.Println(len(ds))
	_, err = io.Copy(io.Discard, os.Stdin)
	<-make(chan struct{})
	return err
}

// One engine a file, also within a process; the message says who it is.
func TestEngineLock_TwoStores(t *testing.T) {
	path := file(t)
	a, b := open(t, path), open(t, path)
	add(t, a, event("e", "work"))
	require.Len(t, claim(t, a), 1)

	_, err := b.Claim(t.Context(), queue, store.Claim{Other: 1})
	require.ErrorIs(t, err, store.ErrBusy)
	require.ErrorContains(t, err, path+".engine")
	require.ErrorContains(t, err, "process "+strconv.Itoa(os.Getpid())+" ")

	// It may add, but gives no lease, and browse.
	born := event("by b", "work")
	born.To[0].Lease = time.Hour
	d := add(t, b, born)[0].Deliveries[0]
	require.Equal(t, store.Queued, d.State)
	require.Zero(t, d.Token)
	require.Len(t, find(t, b, "e"), 1)

	require.NoError(t, a.Close())
	require.Len(t, claim(t, b), 2, "what a had leased is void at once")
}

// A crashed engine's leases are void as soon as the next has the lock, however long
// they would have been; whoever takes over counts the lost attempt.
func TestEngineLock_Crash(t *testing.T) {
	path := file(t)
	st := open(t, path)
	for i := range 3 {
		add(t, st, event(fmt.Sprint(i), "work"))
	}
	later := event("later", "work")
	later.To[0].After = 10 * time.Minute
	add(t, st, later)
	engine := start(t, "engine", path)
	require.Equal(t, "3", engine.line(t))

	_, err := st.Claim(t.Context(), queue, store.Claim{Other: 1})
	require.ErrorIs(t, err, store.ErrBusy)
	require.ErrorContains(t, err, "process "+strconv.Itoa(engine.Process.Pid)+" ")

	engine.kill()
	ds := claim(t, st)
	require.Len(t, ds, 3, "those that were leased, and not the one that is due later")
	for _, d := range ds {
		require.Equal(t, 1, d.Lost)
		require.EqualValues(t, 2, d.Token)
		got, _, err := st.Find(t.Context(), queue, store.Filter{IDs: []string{d.ID}}, "", 0)
		require.NoError(t, err)
		require.Equal(t, store.OutcomeLost, got[0].Attempts[0].Outcome)
	}
}

// A hold of an ordering key outlasts the engine: what was leased under the key is void,
// and due when the hold ends.
func TestEngineLock_HeldKeyStaysHeld(t *testing.T) {
	path := file(t)
	a, b := open(t, path), open(t, path)
	ordered := event("e", "work")
	ordered.To[0].OrderKey = "key"
	add(t, a, ordered)
	require.Len(t, claim(t, a), 1)
	_, err := a.Commit(t.Context(), &store.Batch{Holds: []store.Hold{
		{Queue: queue, Destination: "work", OrderKey: "key", Kind: store.Slowed, For: 30 * time.Second},
	}})
	require.NoError(t, err)
	require.NoError(t, a.Close())

	require.Empty(t, claim(t, b), "held, with a lease of a minute that is void")
	b.Advance(31 * time.Second)
	require.Len(t, claim(t, b), 1)
}

// A lease that is void stays void, whatever happens to its ordering key before
// somebody claims.
func TestEngineLock_VoidUnderAKey(t *testing.T) {
	path := file(t)
	a, b := open(t, path), open(t, path)
	ordered := event("e", "work")
	ordered.To[0].OrderKey = "key"
	add(t, a, ordered)
	require.Len(t, claim(t, a), 1)
	require.NoError(t, a.Close())

	_, err := b.Claim(t.Context(), queue, store.Claim{}) // for nobody yet
	require.NoError(t, err)
	_, err = b.Commit(t.Context(), &store.Batch{Holds: []store.Hold{{Queue: queue, Destination: "work", OrderKey: "key", Release: true}}})
	require.NoError(t, err)
	require.Len(t, claim(t, b), 1)
}

// Leases that a store gives itself before its first claim stay.
func TestEngineLock_OwnLeasesStay(t *testing.T) {
	st := open(t, file(t))
	born := event("e", "work")
	born.To[0].Lease = time.Hour
	d := add(t, st, born)[0].Deliveries[0]
	require.EqualValues(t, 1, d.Token)
	require.Empty(t, claim(t, st))
}

// What a store remembers of a lease is no proof: another process may have settled
// it meanwhile.
func TestSettle_ByAnotherProcessMeanwhile(t *testing.T) {
	path := file(t)
	ours, theirs := open(t, path), open(t, path)
	add(t, ours, event("e", "work"))
	d := claim(t, ours)[0]
	settle := &store.Batch{Settles: []store.Settle{processed(d)}}
	res, err := theirs.Commit(t.Context(), settle)
	require.NoError(t, err)
	require.Equal(t, store.Done, res.Settles[0])
	settle.Settles[0].To = store.Dead
	res, err = ours.Commit(t.Context(), settle)
	require.NoError(t, err)
	require.Equal(t, store.AlreadySettled, res.Settles[0])
	require.Equal(t, store.Processed, find(t, ours, "e")[0].State)
	requireCounters(t, ours)
}

// The file has one engine, whatever it is called.
func TestEngineLock_ByAnotherName(t *testing.T) {
	path := file(t)
	st := open(t, path)
	add(t, st, event("e", "work"))
	require.Len(t, claim(t, st), 1)

	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err) // not everybody may
	}
	other := open(t, link)
	ds, err := other.Claim(t.Context(), queue, store.Claim{Other: 1, Lease: time.Minute})
	require.Empty(t, ds, "leased to the first")
	require.ErrorIs(t, err, store.ErrBusy)
}
