package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/store/sqlite"
)

// posting is what a poster is to do.
type posting struct {
	dir    string
	urls   []string
	fanOut int
	window time.Duration
}

// postResult is what it tells its parent.
type postResult struct {
	Deliveries int64
	Took, CPU  time.Duration // until the last one was processed
}

// postMain is the sender's process: it prints a postResult.
func postMain(args []string) (err error) {
	flags := flag.NewFlagSet("post", flag.ExitOnError)
	name := flags.String("as", "", "which row")
	dir := flags.String("dir", "", "folder for its files")
	window := flags.Duration("window", 0, "how long to send")
	profile := flags.String("profile", "", "file for a CPU profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	i := slices.IndexFunc(posters, func(s poster) bool { return s.name == *name })
	if i < 0 {
		return fmt.Errorf("no row %q", *name)
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
		defer pprof.StopCPUProfile()
	}
	r, err := posters[i].post(context.Background(), posting{*dir, flags.Args(), posters[i].fanOut, *window})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// since returns the result of what began at start, with cpu used before.
func since(start time.Time, cpu time.Duration, deliveries int64) postResult {
	pprof.StopCPUProfile() // what follows is not measured
	return postResult{deliveries, time.Since(start), cpuTime() - cpu}
}

// loops runs f in so many goroutines until the window is over or one fails.
func loops(n int, window time.Duration, f func(loop int) error) error {
	start := time.Now()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for errs[i] == nil && time.Since(start) < window {
				errs[i] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// postBare posts the same requests as fast as they are answered, and keeps
// nothing.
func postBare(ctx context.Context, j posting) (postResult, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: endpoints * perEndpoint, MaxIdleConnsPerHost: perEndpoint}}
	body := []byte(strings.Repeat("x", bodySize))
	var sent atomic.Int64
	start, cpu := time.Now(), cpuTime()
	err := loops(endpoints*perEndpoint, j.window, func(loop int) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, j.urls[loop%len(j.urls)], bytes.NewReader(body))
		if err != nil {
			return err
		}
		id, stamp := fmt.Sprintf("msg_%016x", sent.Add(1)), strconv.FormatInt(time.Now().Unix(), 10)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "bench")
		r.Header.Set("Webhook-Id", id)
		r.Header.Set("Webhook-Timestamp", stamp)
		r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(sign(id, stamp, body)))
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	})
	return since(start, cpu, sent.Load()), err
}

func postSQLite(ctx context.Context, j posting) (postResult, error) {
	st, err := sqlite.Open(ctx, filepath.Join(j.dir, "webhooks.db"), sqlite.Config{})
	if err != nil {
		return postResult{}, err
	}
	return postDispatcher(ctx, j, st)
}

func postMemory(ctx context.Context, j posting) (postResult, error) {
	return postDispatcher(ctx, j, memory.New())
}

// mostWaiting is how many deliveries may be sent whose attempt has not begun: as many
// as may be in flight while they wait for their commit, and as many again that wait
// for their turn. Send is faster than any endpoint, and is held back.
const mostWaiting = 2 * endpoints * perEndpoint

// postDispatcher sends for a window, and waits until everything is processed.
func postDispatcher(ctx context.Context, j posting, st store.Store) (r postResult, err error) {
	logFile, err := os.Create(filepath.Join(j.dir, "log"))
	if err != nil {
		return r, err
	}
	list := make(webhook.EndpointList, len(j.urls))
	for i, u := range j.urls {
		list[i] = webhook.Endpoint{ID: fmt.Sprintf("endpoint-%d", i), URL: u, Secrets: []webhook.Secret{{Value: secret}}}
	}
	to := &pacingEndpoints{EndpointList: list, room: make(chan struct{}, mostWaiting)}
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Endpoints:   to,
		Guard:       webhook.Guard{Development: true},
		PerEndpoint: perEndpoint,
		Queue: webhook.QueueConfig{
			Concurrency: endpoints * perEndpoint,
			Telemetry:   webhook.Telemetry{Logger: slog.New(slog.NewJSONHandler(logFile, nil))},
		},
	})
	if err != nil {
		return r, err
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- out.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ran, st.Close(), logFile.Close())
	}()

	body := []byte(strings.Repeat("x", bodySize))
	start, cpu := time.Now(), cpuTime()
	var events atomic.Int64
	err = loops(endpoints*perEndpoint/j.fanOut, j.window, func(int) error {
		for range j.fanOut {
			to.room <- struct{}{}
		}
		n := events.Add(1)
		e := webhook.Event{ID: fmt.Sprintf("msg_%016x", n), Type: "invoice.paid", Body: body}
		if j.fanOut == 1 {
			e.To = []string{list[int(n)%len(list)].ID}
		}
		_, err := out.Send(ctx, e)
		return err
	})
	if err != nil {
		return r, err
	}
	sent := events.Load() * int64(j.fanOut)
	if err := settled(ctx, out); err != nil {
		return r, err
	}
	return since(start, cpu, sent), nil
}

// pacingEndpoints make room for another delivery when an attempt begins.
type pacingEndpoints struct {
	webhook.EndpointList
	room chan struct{}
}

func (e *pacingEndpoints) Endpoint(ctx context.Context, id string) (webhook.Endpoint, error) {
	<-e.room
	return e.EndpointList.Endpoint(ctx, id)
}

// settled waits until nothing is queued or being processed.
func settled(ctx context.Context, out *webhook.Dispatcher) error {
	for deadline := time.Now().Add(drainTime); ; time.Sleep(20 * time.Millisecond) {
		stats, err := out.Queue().Stats(ctx)
		waiting := stats.Queued + stats.Processing
		switch {
		case err != nil:
			return err
		case stats.Dead > 0:
			return fmt.Errorf("%d deliveries are dead", stats.Dead)
		case waiting == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d deliveries are not processed a minute after the last event", waiting)
		}
	}
}
