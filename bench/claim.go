package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

const (
	claimSize     = 64  // deliveries of a claim, as many as an Inbox has slots
	claimBodySize = 200 // bytes of an event
	claimQueue    = "inbox"
	claimHandler  = "noop"
	buildBatch    = 512
)

// backlog is a queue on SQLite with a history.
type backlog struct {
	name              string
	processed, queued int
	st                *sqlite.Store
	built             time.Duration
	took              []float64 // claims, in microseconds
}

// measureClaims prints what a claim costs in a queue with a long history and many
// that wait, and in one with few. A claim costs what it finds: so it should be the
// same.
func measureClaims(ctx context.Context, p plan) (err error) {
	logs := []*backlog{
		{name: "small", queued: min(1000, p.queued)},
		{name: "large", processed: p.processed, queued: p.queued},
	}
	for _, b := range logs {
		fmt.Fprintf(os.Stderr, "claims: building a queue of %d processed and %d queued\n", b.processed, b.queued)
		if err := b.build(ctx, filepath.Join(p.dir, b.name+".db")); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		defer func() { err = errors.Join(err, b.st.Close()) }()
	}
	for i := range p.rounds {
		fmt.Fprintf(os.Stderr, "claims, round %d of %d\n", i+1, p.rounds)
		for end := time.Now().Add(p.window); time.Now().Before(end); {
			for _, b := range logs { // in turn, since a machine's speed drifts
				if err := b.claim(ctx); err != nil {
					return fmt.Errorf("%s: %w", b.name, err)
				}
			}
		}
	}
	fmt.Printf("\nClaims of %d deliveries on SQLite (WAL, synchronous=FULL), bodies of %d bytes; in turn, each handed back afterwards\n\n", claimSize, claimBodySize)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "processed\tqueued\tbuilt in\tclaims\tmedian\tp90\t÷ small\t")
	small := median(logs[0].took)
	for _, b := range logs {
		sorted := slices.Sorted(slices.Values(b.took))
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%.0f µs\t%.0f µs\t%.2f\t\n", b.processed, b.queued, b.built.Round(time.Second),
			len(b.took), median(b.took), sorted[len(sorted)*9/10], median(b.took)/small)
	}
	return w.Flush()
}

// build fills a new file, through Commit alone, as an Inbox does.
func (b *backlog) build(ctx context.Context, path string) (err error) {
	start := time.Now()
	if b.st, err = sqlite.Open(ctx, path, sqlite.Config{}); err != nil {
		return err
	}
	for n := 0; n < b.processed; n += buildBatch {
		if err := b.process(ctx, n, min(n+buildBatch, b.processed)); err != nil {
			return err
		}
	}
	for n := 0; n < b.queued; n += buildBatch {
		if _, err := b.add(ctx, b.processed+n, b.processed+min(n+buildBatch, b.queued), 0); err != nil {
			return err
		}
	}
	b.built = time.Since(start)
	stats, _, err := b.st.Stats(ctx, claimQueue, "", 1)
	if err == nil && (len(stats) == 0 || stats[0].Queued != b.queued || stats[0].Processing != 0) {
		err = fmt.Errorf("built %+v, want %d queued", stats, b.queued)
	}
	return err
}

// process adds events from one number up to another, born with leases, and settles
// them.
func (b *backlog) process(ctx context.Context, from, to int) error {
	res, err := b.add(ctx, from, to, time.Hour)
	if err != nil {
		return err
	}
	settles := make([]store.Settle, len(res.Adds))
	for i := range res.Adds {
		d := &res.Adds[i].Deliveries[0]
		settles[i] = store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed, Attempt: &store.Attempt{
			Token: d.Token, Start: time.Now(), Duration: time.Millisecond, Outcome: store.OutcomeProcessed,
		}}
	}
	settled, err := b.st.Commit(ctx, &store.Batch{Settles: settles})
	if err == nil && slices.ContainsFunc(settled.Settles, func(r store.Result) bool { return r != store.Done }) {
		err = errors.New("not everything was settled")
	}
	return err
}

func (b *backlog) add(ctx context.Context, from, to int, lease time.Duration) (*store.Results, error) {
	adds := make([]store.Add, to-from)
	body := []byte(strings.Repeat("x", claimBodySize))
	for i := range adds {
		id := fmt.Sprintf("msg_%016x", from+i)
		adds[i] = store.Add{
			Queue: claimQueue, Identity: sha256.Sum256([]byte(id)), Digest: sha256.Sum256(body), Known: 7 * 24 * time.Hour,
			Record: &store.Record{Source: "bench", ID: id, Type: "invoice.paid", Body: body},
			To:     []store.Target{{Destination: claimHandler, Lease: lease}},
		}
		rand.Read(adds[i].Nonce[:])
	}
	return b.st.Commit(ctx, &store.Batch{Adds: adds})
}

// claim measures one claim, and hands back what it brought.
func (b *backlog) claim(ctx context.Context) error {
	start := time.Now()
	ds, err := b.st.Claim(ctx, claimQueue, store.Claim{Free: map[string]int{claimHandler: claimSize}, Max: claimSize, Lease: time.Minute})
	took := time.Since(start)
	if err != nil {
		return err
	}
	if len(ds) != claimSize {
		return fmt.Errorf("claimed %d, want %d", len(ds), claimSize)
	}
	b.took = append(b.took, float64(took.Microseconds()))
	back := make([]store.Settle, len(ds))
	for i := range ds {
		back[i] = store.Settle{Delivery: ds[i].ID, Token: ds[i].Token, To: store.Queued}
	}
	_, err = b.st.Commit(ctx, &store.Batch{Settles: back})
	return err
}
