//go:build unix

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

func init() { roles["sized"] = playSized }

// playSized is a process whose files may not grow beyond a limit for a time: each
// write behind it fails, in the middle of a commit.
func playSized(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	st, err := sqlite.Open(ctx, path, sqlite.Config{})
	if err != nil {
		return err
	}
	put := func(id string) error {
		_, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{large(id)}})
		return err
	}
	if err := put("before"); err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	limit := old
	limit.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	refused := ""
	for i := range 100 {
		id := fmt.Sprint("limited ", i)
		if err := put(id); err != nil {
			fmt.Println("refused", id, err)
			refused = id
			break
		}
		fmt.Println("added", id)
	}
	if refused == "" {
		return errors.New("nothing was refused")
	}
	if put("still") == nil {
		return errors.New("a commit succeeded behind the limit")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := put("after"); err != nil {
		return err
	}
	fmt.Println("added after")
	return syscall.Kill(os.Getpid(), syscall.SIGKILL) // no Close puts it right
}

// A write that fails in the middle of a commit is refused and nothing else; the
// store goes on without being opened again, and what it acknowledged then is there
// after a crash.
func TestFault_WriteFails(t *testing.T) {
	path := file(t)
	c := start(t, "sized", path)
	var ids []string
	refused := ""
	for c.out.Scan() {
		var what, id string
		if n, _ := fmt.Sscanf(c.out.Text(), "%s limited %s", &what, &id); n == 2 {
			id = "limited " + id
		} else {
			_, _ = fmt.Sscanf(c.out.Text(), "%s %s", &what, &id)
		}
		switch what {
		case "added":
			ids = append(ids, id)
		case "refused":
			refused = id
			require.Contains(t, c.out.Text(), "disk I/O error")
		}
	}
	require.Contains(t, ids, "after", "it went on")
	require.Greater(t, len(ids), 5)
	c.kill()

	st := open(t, path)
	requireEvents(t, st, append(ids, "before"), refused)
	check, err := st.OnWriter("PRAGMA integrity_check")
	require.NoError(t, err)
	require.Equal(t, "ok", check)
}
