package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Endpoints that are posted to, and how many posts to each are under way.
const (
	endpoints   = 10
	perEndpoint = 8
)

// poster is a way to post events, in a process of its own.
type poster struct {
	name, what string
	fanOut     int // deliveries of an event
	post       func(ctx context.Context, j posting) (postResult, error)
}

// posters are in the order of the table.
var posters = []poster{
	{"bare", "http.Client in loops that sign, post, and read the answer", 1, postBare},
	{"ours-sqlite-1", "Send to one endpoint on SQLite, until processed, logging to a file", 1, postSQLite},
	{"ours-sqlite-10", "Send to ten endpoints on SQLite", endpoints, postSQLite},
	{"ours-memory-1", "Send to one endpoint on the memory store", 1, postMemory},
	{"ours-memory-10", "Send to ten endpoints on the memory store", endpoints, postMemory},
}

// outboundRound is one window of one poster.
type outboundRound struct {
	perSecond float64       // deliveries, the wait for the last one included
	cpu       time.Duration // of the sender, for one delivery
}

// measureOutbound prints a table with a line for each poster.
func measureOutbound(ctx context.Context, p plan) error {
	measured := map[string][]outboundRound{}
	for i := range p.rounds {
		fmt.Fprintf(os.Stderr, "outbound, round %d of %d\n", i+1, p.rounds)
		for _, s := range posters {
			m, err := measurePoster(ctx, p, s, "")
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			measured[s.name] = append(measured[s.name], m)
		}
	}
	if p.profile != "" {
		for _, s := range posters {
			if _, err := measurePoster(ctx, p, s, p.profile); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return printOutbound(p, measured)
}

// measurePoster runs one round: receivers and sender in fresh processes.
func measurePoster(ctx context.Context, p plan, s poster, profile string) (m outboundRound, err error) {
	to, err := startReceivers(ctx)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	dir, err := os.MkdirTemp(p.dir, s.name+"-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	args := []string{"post", "-as", s.name, "-dir", dir, "-window", p.window.String()}
	if profile != "" {
		args = append(args, "-profile", filepath.Join(profile, s.name+".prof"))
	}
	cmd := exec.CommandContext(ctx, self, append(args, to.urls...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("sender: %w", err)
	}
	var r postResult
	if err := json.Unmarshal(out, &r); err != nil {
		return m, err
	}
	received, err := to.received()
	if err != nil {
		return m, err
	}
	if received != r.Deliveries {
		return m, fmt.Errorf("%d deliveries, and the endpoints received %d", r.Deliveries, received)
	}
	return outboundRound{
		perSecond: float64(r.Deliveries) / r.Took.Seconds(),
		cpu:       r.CPU / time.Duration(r.Deliveries),
	}, nil
}

func printOutbound(p plan, measured map[string][]outboundRound) error {
	fmt.Printf("\nOutbound, full cycle: Send → post → processed; events of %d bytes, %d endpoints in a process of their own, %d posts in flight;\n"+
		"%d rounds of %v a row, interleaved; medians, ratios too; CPU is the sender's for one delivery\n\n",
		bodySize, endpoints, endpoints*perEndpoint, p.rounds, p.window)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "deliveries/s\tlowest\thighest\tCPU\t÷ bare\t  row\t")
	rates := map[string][]float64{}
	cpus := map[string][]time.Duration{}
	for name, rounds := range measured {
		for _, m := range rounds {
			rates[name] = append(rates[name], m.perSecond)
			cpus[name] = append(cpus[name], m.cpu.Round(time.Microsecond))
		}
	}
	for _, s := range posters {
		r := rates[s.name]
		fmt.Fprintf(w, "%.0f\t%.0f\t%.0f\t%v\t%.2f\t  %s\t\n",
			median(r), slices.Min(r), slices.Max(r), median(cpus[s.name]), ratio(r, rates["bare"]), s.name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println()
	for _, s := range posters {
		fmt.Printf("  %-14s  %s\n", s.name, s.what)
	}
	return nil
}

// receivers is the process of the endpoints, as its parent sees it.
type receivers struct {
	urls []string
	cmd  *exec.Cmd
	ask  *bufio.Writer
	out  *bufio.Scanner
	stop func() error
}

func startReceivers(ctx context.Context) (*receivers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "receive")
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
	r := &receivers{cmd: cmd, ask: bufio.NewWriter(stdin), out: bufio.NewScanner(stdout), stop: stdin.Close}
	if !r.out.Scan() {
		return nil, errors.Join(errors.New("the endpoints did not start"), r.close())
	}
	r.urls = strings.Fields(r.out.Text())
	return r, nil
}

// received returns how many posts they have answered.
func (r *receivers) received() (int64, error) {
	if err := errors.Join(r.ask.WriteByte('\n'), r.ask.Flush()); err != nil {
		return 0, err
	}
	if !r.out.Scan() {
		return 0, errors.New("the endpoints have gone")
	}
	return strconv.ParseInt(r.out.Text(), 10, 64)
}

func (r *receivers) close() error {
	return errors.Join(r.stop(), r.cmd.Wait())
}
