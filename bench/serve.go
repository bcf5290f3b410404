package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// path is where a server receives.
const path = "/webhooks/bench"

// serveMain is the server's process: it prints its address, and serves until its
// standard input ends, as it also does when its parent dies.
func serveMain(args []string) (err error) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	name := flags.String("row", "", "which row")
	dir := flags.String("dir", "", "folder for its files")
	profile := flags.String("profile", "", "file for a CPU profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == *name })
	if i < 0 {
		return fmt.Errorf("no row %q", *name)
	}
	ctx := context.Background()
	rec, err := rows[i].open(ctx, *dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close()) }()

	mux := http.NewServeMux()
	mux.Handle(path, rec.handler)
	mux.HandleFunc("/account", func(w http.ResponseWriter, r *http.Request) {
		pprof.StopCPUProfile() // the window is over
		cpu := cpuTime()
		a, err := rec.account(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		a.CPU = cpu
		_ = json.NewEncoder(w).Encode(a)
	})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile() // does nothing the second time
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		fmt.Printf("http://%s\n", listener.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Close()
	}()
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// server is a serve process, as its parent sees it.
type server struct {
	url  string
	dir  string
	cmd  *exec.Cmd
	stop io.Closer
}

// startServer runs r in a process and a new folder of its own.
func startServer(ctx context.Context, p plan, r row, profile string) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if r.plain {
		program = p.plain
	}
	dir, err := os.MkdirTemp(p.dir, r.name+"-")
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "-row", r.name, "-dir", dir}
	if profile != "" {
		args = append(args, "-profile", filepath.Join(profile, r.name+".prof"))
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{dir: dir, cmd: cmd, stop: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("server %s did not start", r.name), s.Close())
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

// Account asks what became of the events so far.
func (s *server) Account(ctx context.Context) (a account, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/account", nil)
	if err != nil {
		return a, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return a, fmt.Errorf("account: %s: %s", resp.Status, text)
	}
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// Close stops the process and removes its folder.
func (s *server) Close() error {
	return errors.Join(s.stop.Close(), s.cmd.Wait(), os.RemoveAll(s.dir))
}
