// Command bench measures what a durable acknowledgement costs, side by side on
// one machine:
//
//   - over HTTP, under the load of wrk: a handler that only verifies, one that
//     also appends to a file, and an Inbox on SQLite and in memory; that on SQLite
//     also built without instruments, and with OpenTelemetry's SDK;
//   - without HTTP: the full cycle of an event, add → handler → processed, on
//     SQLite, beside the queue library goqite;
//   - outbound: the full cycle of a delivery, Send → post → processed, on SQLite
//     and in memory, beside loops of http.Client that post the same;
//   - what a claim costs in a queue with a million that were processed and a hundred
//     thousand that wait, beside one with a thousand: only when it is asked for,
//     since to build the queue takes minutes.
//
// Figures of one machine say little, their ratios more: rounds are interleaved,
// each in a process and a folder of its own, and the tables show medians.
//
//	make bench                        # all of it, about ten minutes
//	cd bench && go run . -only cycle
//	cd bench && go run . -only http -rounds 1 -profile /tmp
//	cd bench && go run . -only claim -rounds 3
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

// connections is how many requests, and adders, are under way at once.
const connections = 64

// bodySize is that of an event.
const bodySize = 1024

// plan is what the flags ask for.
type plan struct {
	dir     string // for everything that is written; on the disk to be measured
	only    string
	profile string
	plain   string // this program, built without instruments
	rounds  int
	window  time.Duration

	processed, queued int // of the queue in which claims are measured
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			exit(serveMain(os.Args[2:]))
		case "post":
			exit(postMain(os.Args[2:]))
		case "receive":
			exit(receiveMain())
		}
	}
	var p plan
	flag.StringVar(&p.dir, "dir", "", "folder for the files, on the disk to be measured (default: the user's cache folder)")
	flag.StringVar(&p.only, "only", "", "http, cycle, outbound or claim (default: the first three)")
	flag.StringVar(&p.profile, "profile", "", "folder for a CPU profile of each row of http and outbound, taken in an extra round that does not count")
	flag.IntVar(&p.rounds, "rounds", 5, "rounds of each row")
	flag.DurationVar(&p.window, "window", 6*time.Second, "length of a round")
	flag.IntVar(&p.processed, "processed", 1_000_000, "processed deliveries of the queue in which claims are measured")
	flag.IntVar(&p.queued, "queued", 100_000, "queued deliveries of the queue in which claims are measured, at least 64")
	flag.Parse()

	// An interrupted run stops its servers and removes its files, too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, p))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, p plan) error {
	// Not the system's temporary folder: that may be memory, where durable
	// writes cost nothing.
	if p.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		p.dir = cache
	}
	dir, err := os.MkdirTemp(p.dir, "webhook-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p.dir = dir

	sync, err := syncTime(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d of its cores, %s, %s, %s\n", processor(), runtime.GOMAXPROCS(0), kernel(), runtime.Version(), time.Now().Format(time.DateOnly))
	fmt.Printf("one append of %d bytes with fdatasync: %v (median)\n", bodySize, sync.Round(time.Microsecond))

	if p.only == "" || p.only == "http" {
		if err := measureHTTP(ctx, p); err != nil {
			return err
		}
	}
	if p.only == "" || p.only == "cycle" {
		if err := measureCycles(ctx, p); err != nil {
			return err
		}
	}
	if p.only == "" || p.only == "outbound" {
		if err := measureOutbound(ctx, p); err != nil {
			return err
		}
	}
	if p.only == "claim" {
		return measureClaims(ctx, p)
	}
	return nil
}

// processor names the machine's.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return "Linux " + strings.TrimSpace(string(release))
}

// median returns the middle one of values.
func median[T cmp.Ordered](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// ratio compares two rows round by round, since a machine's speed drifts, and
// returns the median.
func ratio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}
