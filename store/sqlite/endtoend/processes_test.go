package endtoend

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stage is where the processes of a test play.
type stage struct {
	t         *testing.T
	db, acked string
	queue     string
	addr      string
	env       []string
}

// newStage sets it; more are variables of the environment, for all processes.
func newStage(t *testing.T, more ...string) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{t: t, db: filepath.Join(dir, "webhooks.db"), acked: filepath.Join(dir, "acked"), queue: "inbox", addr: freeAddr(t)}
	s.env = append(os.Environ(), envDB+"="+s.db, envAcked+"="+s.acked, envAddr+"="+s.addr)
	s.env = append(s.env, more...)
	return s
}

// receiver returns when the receiver is ready, or has exited.
func (s *stage) receiver(suicide int) (*os.Process, <-chan error) {
	s.t.Helper()
	return s.start(envRole+"=receiver", envSuicide+"="+strconv.Itoa(suicide))
}

// start starts a process that says when it is ready, and returns then, or when it
// has exited.
func (s *stage) start(env ...string) (*os.Process, <-chan error) {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = slices.Concat(s.env, env)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { cmd.Process.Kill() })
	_, err = bufio.NewReader(out).ReadString('\n')
	if !errors.Is(err, io.EOF) {
		require.NoError(s.t, err)
	}
	return cmd.Process, exited(cmd)
}

// sender starts one; finish has it end when its events at hand are answered.
func (s *stage) sender() (finish func()) {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = slices.Concat(s.env, []string{envRole + "=sender"})
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { cmd.Process.Kill() })
	sent := exited(cmd)
	return func() {
		s.t.Helper()
		require.NoError(s.t, in.Close())
		require.NoError(s.t, within(s.t, sent), "sender")
	}
}

// end lets the sender finish against a receiver that works, waits until nothing
// is to be done, stops the receiver, and returns the account.
func (s *stage) end(finish func()) account {
	s.t.Helper()
	receiver, exited := s.receiver(0)
	finish()
	s.settled()
	require.NoError(s.t, receiver.Signal(syscall.SIGTERM))
	require.NoError(s.t, within(s.t, exited), "receiver: SIGTERM is no crash")
	return s.account()
}

func exited(cmd *exec.Cmd) <-chan error {
	c := make(chan error, 1)
	go func() { c <- cmd.Wait() }()
	return c
}

func within(t *testing.T, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(90 * time.Second):
		t.Fatal("still running after 90 s")
		return nil
	}
}

// requireKilled fails unless err is that of a process which died of SIGKILL.
func requireKilled(t *testing.T, err error) {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	status, ok := exit.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%v", err)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
