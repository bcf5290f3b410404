package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver of goqite's documentation; faster for it than ours
	"maragu.dev/goqite"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/sqlite"
)

// cycler takes an event through its full cycle: add → handler → processed.
type cycler struct {
	name string
	open func(ctx context.Context, dir string) (*cycling, error)
}

// cycling is a cycler that has been opened.
type cycling struct {
	add       func(ctx context.Context, id string, body []byte) error     // returns when it is durable
	processed func(ctx context.Context, added int64) (done bool, _ error) // whether all that were added are
	close     func() error
}

var cyclers = []cycler{
	{"ours-sqlite", openCycle},
	{"goqite", openGoqite},
}

// measureCycles prints a table with a line for each cycler.
func measureCycles(ctx context.Context, p plan) error {
	measured := map[string][]float64{}
	for i := range p.rounds {
		fmt.Fprintf(os.Stderr, "full cycle, round %d of %d\n", i+1, p.rounds)
		for _, c := range cyclers {
			perSecond, err := measureCycle(ctx, p, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			measured[c.name] = append(measured[c.name], perSecond)
		}
	}
	fmt.Printf("\nFull cycle without HTTP: add → handler that does nothing → processed; SQLite (WAL, synchronous=FULL),\n"+
		"%d adders; %d rounds, interleaved; medians, ratios too\n\n", connections, p.rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "cycles/s\tlowest\thighest\t÷ goqite\t  queue\t")
	for _, c := range cyclers {
		rates := measured[c.name]
		fmt.Fprintf(w, "%.0f\t%.0f\t%.0f\t%.1f\t  %s\t\n",
			median(rates), slices.Min(rates), slices.Max(rates), ratio(rates, measured["goqite"]), c.name)
	}
	return w.Flush()
}

// measureCycle adds for a window, waits until everything is processed, and
// returns how many cycles a second that was, the wait included.
func measureCycle(ctx context.Context, p plan, c cycler) (perSecond float64, err error) {
	dir, err := os.MkdirTemp(p.dir, c.name+"-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	q, err := c.open(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, q.close()) }()

	body := []byte(strings.Repeat("x", bodySize))
	start := time.Now()
	var added atomic.Int64
	var adders sync.WaitGroup
	failures := make(chan error, connections)
	for range connections {
		adders.Go(func() {
			for time.Since(start) < p.window {
				id := fmt.Sprintf("msg_%016x", added.Add(1))
				if err := q.add(ctx, id, body); err != nil {
					failures <- fmt.Errorf("add: %w", err)
					return
				}
			}
		})
	}
	adders.Wait()
	select {
	case err := <-failures:
		return 0, err
	default:
	}
	for deadline := time.Now().Add(drainTime); ; time.Sleep(time.Millisecond) {
		done, err := q.processed(ctx, added.Load())
		switch {
		case err != nil:
			return 0, err
		case done:
			return float64(added.Load()) / time.Since(start).Seconds(), nil
		case time.Now().After(deadline):
			return 0, errors.New("not everything is processed a minute after the last event")
		}
	}
}

func openCycle(ctx context.Context, dir string) (*cycling, error) {
	st, err := sqlite.Open(ctx, filepath.Join(dir, "webhooks.db"), sqlite.Config{})
	if err != nil {
		return nil, err
	}
	// goqite logs nothing either.
	quiet := webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: quiet}})
	if err != nil {
		return nil, err
	}
	var handled atomic.Int64
	inbox.Handle("noop", func(context.Context, webhook.Event) error {
		handled.Add(1)
		return nil
	})
	ctx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- webhook.Run(ctx, inbox) }()
	return &cycling{
		add: func(ctx context.Context, id string, body []byte) error {
			_, err := inbox.Add(ctx, webhook.Event{Source: "bench", ID: id, Type: "invoice.paid", Body: body, To: []string{"noop"}})
			return err
		},
		processed: func(ctx context.Context, added int64) (bool, error) {
			if handled.Load() < added {
				return false, nil
			}
			stats, err := inbox.Queue().Stats(ctx)
			return stats.Queued+stats.Processing == 0, err
		},
		close: func() error {
			stop()
			return errors.Join(<-ran, st.Close())
		},
	}, nil
}

// goqiteWorkers receive, each one message after the other. More of them take
// turns with the adders for the one connection, and change nothing.
const goqiteWorkers = connections

// openGoqite follows goqite's documentation: WAL, synchronous as we have it, and
// one connection, so that transactions wait for each other here and not in SQLite.
// Its workers call Receive and Delete, which is faster than its job runner.
func openGoqite(ctx context.Context, dir string) (*cycling, error) {
	dsn := "file:" + filepath.Join(dir, "goqite.db") + "?_journal=WAL&_sync=FULL&_timeout=5000&_fk=true"
	db, err := sql.Open("sqlite3", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	schema, err := goqiteSchema(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, err
	}
	q := goqite.New(goqite.NewOpts{DB: db, Name: "bench", Timeout: time.Minute})

	ctx, stop := context.WithCancel(ctx)
	var deleted atomic.Int64
	var workers sync.WaitGroup
	for range goqiteWorkers {
		workers.Go(func() {
			for ctx.Err() == nil {
				m, err := q.ReceiveAndWait(ctx, 10*time.Millisecond)
				if err == nil {
					err = q.Delete(ctx, m.ID)
				}
				if err != nil {
					if ctx.Err() == nil {
						fmt.Fprintln(os.Stderr, "goqite:", err)
					}
					continue
				}
				deleted.Add(1)
			}
		})
	}
	return &cycling{
		add: func(ctx context.Context, _ string, body []byte) error {
			return q.Send(ctx, goqite.Message{Body: body})
		},
		processed: func(_ context.Context, added int64) (bool, error) { return deleted.Load() >= added, nil },
		close: func() error {
			stop()
			workers.Wait()
			return db.Close()
		},
	}, nil
}

// goqiteSchema reads the table's definition where the go command keeps the
// module: goqite does not export it.
func goqiteSchema(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "maragu.dev/goqite").Output()
	if err != nil {
		return "", fmt.Errorf("find goqite's schema (run this in its own folder): %w", err)
	}
	schema, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "schema_sqlite.sql"))
	return string(schema), err
}
