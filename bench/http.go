package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"text/tabwriter"
	"time"
)

// mostPerSecond is how many signed requests a second of a round is given:
// several times what two cores answer.
const mostPerSecond = 150_000

// drainTime is how long a row may take to process what it was still holding at
// the end of its window.
const drainTime = time.Minute

// round is one window of one row.
type round struct {
	result
	cpu   time.Duration // of the server, for one request
	share float64       // of what was acknowledged, processed when the window ended
}

// measureHTTP prints a table with a line for each row.
func measureHTTP(ctx context.Context, p plan) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("the load generator is not installed (Debian: apt-get install wrk): %w", err)
	}
	var err error
	if p.plain, err = buildPlain(ctx, p.dir); err != nil {
		return err
	}
	measured := map[string][]round{}
	for i := range p.rounds {
		// Signed anew for each round: their time must not be stale.
		l, err := newLoad(p.dir, mostPerSecond*int(p.window.Seconds()))
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "HTTP, round %d of %d\n", i+1, p.rounds)
		for _, r := range rows {
			m, err := measureRow(ctx, p, r, l, "")
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			measured[r.name] = append(measured[r.name], m)
		}
		if i == p.rounds-1 && p.profile != "" {
			for _, r := range rows {
				if _, err := measureRow(ctx, p, r, l, p.profile); err != nil {
					return fmt.Errorf("%s: %w", r.name, err)
				}
			}
		}
	}
	printRows(p, measured)
	return nil
}

// measureRow runs one round in a fresh process and folder.
func measureRow(ctx context.Context, p plan, r row, l load, profile string) (m round, err error) {
	s, err := startServer(ctx, p, r, profile)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if m.result, err = runWrk(ctx, l, s.url+path, p.window); err != nil {
		return m, err
	}
	atEnd, err := s.Account(ctx)
	if err != nil {
		return m, err
	}
	m.cpu = atEnd.CPU / time.Duration(m.Requests)
	if !r.ours {
		return m, nil
	}

	final := atEnd
	for deadline := time.Now().Add(drainTime); final.Waiting > 0; {
		if time.Now().After(deadline) {
			return m, fmt.Errorf("%d events are not processed a minute after the last request", final.Waiting)
		}
		time.Sleep(20 * time.Millisecond)
		if final, err = s.Account(ctx); err != nil {
			return m, err
		}
	}
	// wrk hangs up on its last requests: a few more may be stored than it saw
	// answered, and none less.
	if final.Processed < m.Requests || final.Processed > m.Requests+connections {
		return m, fmt.Errorf("%d requests were acknowledged and %d events processed", m.Requests, final.Processed)
	}
	done := min(int(atEnd.Handled), final.Processed-atEnd.Waiting)
	m.share = float64(done) / float64(final.Processed)
	return m, nil
}

func printRows(p plan, measured map[string][]round) {
	fmt.Printf("\nA durable answer over HTTP: wrk in a process of its own, 1 thread, %d connections, POST of %d bytes with unique ids;\n"+
		"%d rounds of %v a row, interleaved; medians, ratios too; CPU is the server's for one request\n\n", connections, bodySize, p.rounds, p.window)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "requests/s\tlowest\thighest\tp50\tp99\tCPU\t÷ bare\t÷ file\tprocessed at the end\t  row\t")
	perSecond := func(m round) float64 { return m.PerSecond }
	bare, file := column(measured["bare"], perSecond), column(measured["file"], perSecond)
	for _, r := range rows {
		rounds := measured[r.name]
		rates := column(rounds, perSecond)
		share := "–"
		if r.ours {
			share = fmt.Sprintf("%.1f %%", 100*median(column(rounds, func(m round) float64 { return m.share })))
		}
		fmt.Fprintf(w, "%.0f\t%.0f\t%.0f\t%.1f ms\t%.1f ms\t%v\t%.2f\t%.2f\t%s\t  %s\t\n",
			median(rates), slices.Min(rates), slices.Max(rates),
			median(column(rounds, func(m round) float64 { return float64(m.P50) / 1e3 })),
			median(column(rounds, func(m round) float64 { return float64(m.P99) / 1e3 })),
			median(column(rounds, func(m round) time.Duration { return m.cpu.Round(time.Microsecond) })),
			ratio(rates, bare), ratio(rates, file), share, r.name)
	}
	w.Flush()
	fmt.Println()
	printInstruments(measured)
	for _, r := range rows {
		fmt.Printf("  %-12s  %s\n", r.name, r.what)
	}
}

// column returns one figure of rounds.
func column[T any](rounds []round, figure func(round) T) []T {
	values := make([]T, len(rounds))
	for i, m := range rounds {
		values[i] = figure(m)
	}
	return values
}
