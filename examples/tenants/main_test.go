package main

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// envMain makes this test binary the program.
const envMain = "TENANTS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), envMain+"=1")
	return cmd
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	newSecret := func(tenant string) string {
		out, err := command(t, dir, "-rotate", tenant).Output()
		require.NoError(t, err)
		require.Regexp(t, `^whsec_\S+\n$`, string(out))
		return strings.TrimSpace(string(out))
	}
	acme, globex := newSecret("acme"), newSecret("globex")
	rotated := newSecret("acme")

	cmd := command(t, dir, "-address", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	log := bufio.NewScanner(stderr)
	next := func(pattern string) []string {
		t.Helper()
		for log.Scan() {
			if found := regexp.MustCompile(pattern).FindStringSubmatch(log.Text()); found != nil {
				return found[1:]
			}
		}
		require.Fail(t, "the log ended without "+pattern)
		return nil
	}
	url := next(`listening url=(\S+)`)[0]
	post := func(tenant, secret, id string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, url+tenant, strings.NewReader(payload))
		require.NoError(t, err)
		req.Header = signed(t, secret, id)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}

	require.Equal(t, 401, post("acme", globex, "msg_1"))
	require.Equal(t, 401, post("initech", acme, "msg_1"))
	require.Equal(t, 200, post("acme", acme, "msg_1"))
	require.Equal(t, 200, post("acme", rotated, "msg_1"), "a duplicate, signed with the new secret")
	require.Equal(t, 200, post("globex", globex, "msg_1"))
	synced := []string{next(`synced tenant=(\w+ event=\w+)`)[0], next(`synced tenant=(\w+ event=\w+)`)[0]}
	require.ElementsMatch(t, []string{"acme event=msg_1", "globex event=msg_1"}, synced)

	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	for log.Scan() {
		require.NotContains(t, log.Text(), "synced", "a third effect")
	}
	require.NoError(t, cmd.Wait(), "a clean end")
}

// A day after the rotation the earlier secret is over; rotated again, it is gone.
func TestTable_Rotate(t *testing.T) {
	db, err := openTable(t.Context(), filepath.Join(t.TempDir(), "tenants.db"))
	require.NoError(t, err)
	defer db.Close()
	start := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	rotated := func(after time.Duration) (value string, until []time.Duration) {
		t.Helper()
		value, err := rotate(t.Context(), db, "acme", start.Add(after))
		require.NoError(t, err)
		table, err := loadSecrets(t.Context(), db)
		require.NoError(t, err)
		for _, s := range table["acme"] {
			require.Equal(t, "acme", s.Tenant)
			if s.Until.IsZero() {
				require.Equal(t, value, s.Value)
				until = append(until, -1)
				continue
			}
			require.NotEqual(t, value, s.Value)
			until = append(until, s.Until.Sub(start))
		}
		return value, until
	}
	_, until := rotated(0)
	require.Equal(t, []time.Duration{-1}, until)
	_, until = rotated(time.Hour)
	require.Equal(t, []time.Duration{-1, 25 * time.Hour}, until)
	_, until = rotated(2 * time.Hour)
	require.Equal(t, []time.Duration{-1, 25 * time.Hour, 26 * time.Hour}, until, "the first one's time is not lengthened")
	_, until = rotated(25 * time.Hour)
	require.Equal(t, []time.Duration{-1, 26 * time.Hour, 49 * time.Hour}, until)
}

// A table that cannot be read is an error, never a table of no tenants.
func TestTable_Fails(t *testing.T) {
	db, err := openTable(t.Context(), filepath.Join(t.TempDir(), "tenants.db"))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	s := &secrets{load: func(ctx context.Context) (map[string][]webhook.Secret, error) { return loadSecrets(ctx, db) }}
	_, err = s.of(t.Context(), &webhook.Request{})
	require.Error(t, err)
	require.Equal(t, 503, newDoor(t, s).post(t.Context(), "/hooks/acme", acmeOld, "msg_1"))
}
