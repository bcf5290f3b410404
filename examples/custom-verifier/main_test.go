package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// envMain makes this test binary the program.
const envMain = "CUSTOM_VERIFIER_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestProgram_WithoutSecret(t *testing.T) {
	out, err := command(t, "", "-file", filepath.Join(t.TempDir(), "webhooks.db")).CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, string(out), "set PARCEL_SECRET")
}

// One process serves, the function is another on the same file: what came through
// one door is known at the other.
func TestProgram_BothDoors(t *testing.T) {
	s := start(t)
	for _, test := range []struct {
		name, secret, id string
		age              time.Duration
		want             int
	}{
		{"genuine", secret, "scn_1", 0, http.StatusOK},
		{"again", secret, "scn_1", time.Second, http.StatusOK},
		{"forged", forger, "scn_2", 0, http.StatusUnauthorized},
		{"stale", secret, "scn_3", 6 * time.Minute, http.StatusUnauthorized},
		{"from the future", secret, "scn_4", -6 * time.Minute, http.StatusUnauthorized},
		{"without an id", secret, "", 0, http.StatusBadRequest},
	} {
		r := signed(t, s.publicURL, test.secret, scan(test.id, time.Now().Add(-test.age)))
		require.Equal(t, test.want, s.post(r), "%s, over HTTP", test.name)
		answer := s.invoke(r, false)
		require.Equal(t, test.want, answer.StatusCode, "%s, as a function", test.name)
	}
	for id, encoded := range map[string]bool{"scn_5": false, "scn_6": true} {
		r := signed(t, s.publicURL, secret, scan(id, time.Now()))
		require.Equal(t, response{StatusCode: http.StatusOK}, s.invoke(r, encoded))
		require.Equal(t, http.StatusOK, s.post(r), "a replay of what the function stored")
	}
	refused := s.invoke(signed(t, s.publicURL, forger, scan("scn_7", time.Now())), false)
	require.Equal(t, "signature refused\n", refused.Body)
	require.Equal(t, "nosniff", refused.Headers["X-Content-Type-Options"])

	s.end(3)
}

// program is the service, running.
type program struct {
	t                    *testing.T
	cmd                  *exec.Cmd
	log                  *bufio.Scanner
	url, publicURL, file string
}

func command(t *testing.T, secret string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), envMain+"=1", "PARCEL_SECRET="+secret)
	return cmd
}

func start(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, publicURL: publicURL, file: filepath.Join(t.TempDir(), "webhooks.db")}
	p.cmd = command(t, secret, "-address", "127.0.0.1:0", "-file", p.file, "-url", p.publicURL)
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.log = bufio.NewScanner(stderr)
	for p.url == "" && p.log.Scan() {
		_, p.url, _ = strings.Cut(p.log.Text(), "listening url=")
	}
	require.NotEmpty(t, p.url, "it does not listen")
	return p
}

func (p *program) post(r *webhook.Request) int {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(r.Body))
	require.NoError(p.t, err)
	req.Header = r.Header
	res, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	require.NoError(p.t, res.Body.Close())
	return res.StatusCode
}

// invoke calls the function in a process of its own.
func (p *program) invoke(r *webhook.Request, encoded bool) response {
	p.t.Helper()
	in := invocation{Headers: map[string]string{}, Body: string(r.Body), IsBase64Encoded: encoded}
	in.RequestContext.HTTP.Method = r.Method
	for name := range r.Header {
		in.Headers[strings.ToLower(name)] = r.Header.Get(name)
	}
	if encoded {
		in.Body = base64.StdEncoding.EncodeToString(r.Body)
	}
	stdin, err := json.Marshal(in)
	require.NoError(p.t, err)
	cmd := command(p.t, secret, "-invoke", "-file", p.file, "-url", p.publicURL)
	cmd.Stdin = bytes.NewReader(stdin)
	stdout, err := cmd.Output()
	require.NoError(p.t, err)
	var out response
	require.NoError(p.t, json.Unmarshal(stdout, &out))
	return out
}

// end stops the program when it has handled so many parcels, and fails if there are
// more, handled or in the store.
func (p *program) end(parcels int) {
	p.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	handled := 0
	for p.log.Scan() {
		if !strings.Contains(p.log.Text(), "parcel scanned") {
			continue
		}
		if handled++; handled == parcels {
			require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	require.NoError(p.t, p.cmd.Wait(), "a clean end")
	require.Equal(p.t, parcels, handled)

	st, err := sqlite.Open(p.t.Context(), p.file, sqlite.Config{})
	require.NoError(p.t, err)
	defer st.Close()
	stored, err := webhook.NewQueue(st, "inbox").Count(p.t.Context(), store.Filter{}, 100)
	require.NoError(p.t, err)
	require.Equal(p.t, parcels, stored)
}
