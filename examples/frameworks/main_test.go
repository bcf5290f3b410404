package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/provider"
)

// envMain makes this test binary the program.
const envMain = "FRAMEWORKS_MAIN"

// command returns the program, with env added to what it needs to be that.
func command(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(append(os.Environ(), envMain+"=1", "SHOP_SECRET=", "ACME_SECRET="), env...)
	return cmd
}

func TestMain_WithoutSecret(t *testing.T) {
	for _, env := range [][]string{
		nil,
		{"SHOP_SECRET=" + shopSecret},
		{"SHOP_SECRET=" + shopSecret, "ACME_SECRET=hunter2"},
	} {
		out, err := command(t, []string{"-port", "0"}, env...).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, string(out))
		require.Equal(t, 1, exit.ExitCode(), string(out))
		require.Contains(t, string(out), "set SHOP_SECRET and ACME_SECRET")
		require.Contains(t, string(out), "whsec_", "the format expected")
		require.NotContains(t, string(out), "hunter2")
	}
}

// The program serves all four, and ends when it is told to.
func TestMain_Serves(t *testing.T) {
	cmd := command(t, []string{"-port", "0"}, "SHOP_SECRET="+shopSecret, "ACME_SECRET="+acmeSecret)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	log := bufio.NewScanner(stderr)
	next := func(pattern string) string {
		t.Helper()
		for log.Scan() {
			if found := regexp.MustCompile(pattern).FindStringSubmatch(log.Text()); found != nil {
				return found[1]
			}
		}
		require.Fail(t, "the log ended without "+pattern)
		return ""
	}

	v, err := provider.StandardWebhooks(shopSecret)
	require.NoError(t, err)
	frameworks := []string{"chi", "gin", "echo", "fiber"}
	var urls []string
	for _, framework := range frameworks {
		urls = append(urls, "http://"+next("listening framework="+framework+` address=(\S+)`))
	}
	for i, framework := range frameworks {
		r := &rig{t: t, service: &service{shop: v}, url: urls[i]}
		status, _ := r.post("/webhooks/shop", shopSecret, framework, payload)
		require.Equal(t, 200, status)
	}
	var processed []string
	for range frameworks {
		processed = append(processed, next(`order processed event=(\w+)`))
	}
	require.ElementsMatch(t, frameworks, processed)
	client.CloseIdleConnections()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	for log.Scan() { // to the end
	}
	require.NoError(t, cmd.Wait(), "a clean end")
}
