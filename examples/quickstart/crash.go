package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/surehook/webhook"
)

// envCrash makes this program the child that crashes; its value is the folder.
const envCrash = "QUICKSTART_CRASH_IN"

// crash is the child: the same service, but that its handler of reports kills
// the process in the middle of its work, when the parent has the answer.
func crash(dir string) {
	s := &service{drained: make(chan error, 1)}
	s.writeReport = func(context.Context, webhook.Event) error {
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until the parent closes it
			return err
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill() // SIGKILL: no deferred call, no drain
		}
		if err != nil {
			return err
		}
		select {} // until it arrives
	}
	if err := s.start(context.Background(), dir, slog.New(slog.DiscardHandler)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.url)
	fmt.Fprintln(os.Stderr, <-s.drained) // never: the handler ends it
	os.Exit(1)
}

// sendToCrashingChild starts the child, sends it an event, and sees it die.
func (r *report) sendToCrashingChild(ctx context.Context, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self)
	child.Env = append(os.Environ(), envCrash+"="+dir)
	child.Stderr = os.Stderr
	answered, err := child.StdinPipe()
	if err != nil {
		return err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the child did not start: %w", err)
	}
	r.section("A service dies in the middle of a handler")
	err = r.send(ctx, strings.TrimSpace(url), reportRequested, http.StatusOK, "stored, then answered")
	if err != nil {
		return err
	}
	if err := answered.Close(); err != nil {
		return err
	}
	died := child.Wait()
	if died == nil || child.ProcessState.Exited() {
		return fmt.Errorf("the child was to be killed, and ended with: %v", child.ProcessState)
	}
	r.line("the process is gone: %v; the next one, on the same file, is this one", died)
	return nil
}
