package endtoend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/store/sqlite"
)

// What a handler process can do wrong.
const (
	confirmFirst    = "confirm-before-the-handler" // known as soon as it is reserved
	reserveInMemory = "reserve-in-memory"          // reserved for one process alone
	confirmNothing  = "confirm-nothing"            // says that it is known, and forgets it
)

// reservation is long beside everything that a process does while it lives, however
// busy the machine is, and short enough to wait for when it has died.
const reservation = 3 * time.Second

// The words of the journal. Each line is one write to a file that is appended to: it
// survives the process, and lines do not mix.
const (
	began     = "began"
	overlaps  = "overlaps"  // began while another handler of the event was at work
	succeeded = "succeeded" // the effect
	confirmed = "confirmed" // and durable
)

// handle is the handler process: a service that does its work before it answers,
// behind Deduplicate.
func handle() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	st, err := sqlite.Open(ctx, os.Getenv(envDB), sqlite.Config{})
	if err != nil {
		return err
	}
	defer st.Close()
	verifier, err := provider.StandardWebhooks(secret)
	if err != nil {
		return err
	}
	silent := webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}
	verifier.Telemetry = silent

	j := journal(os.Getenv(envJournal))
	keys := sabotaged(os.Getenv(envSabotage), journalKeys{st, j})
	dedup := webhook.Deduplicate(keys, webhook.DedupConfig{Reservation: reservation, Telemetry: silent})
	mux := http.NewServeMux()
	mux.Handle("/hook", webhook.Chain(webhook.Verify("endtoend", verifier), dedup)(http.HandlerFunc(j.work)))
	l, err := net.Listen("tcp", os.Getenv(envAddr))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(silent.Logger.Handler(), 0)}
	go srv.Serve(l)
	fmt.Println("ready")
	<-ctx.Done()
	return srv.Shutdown(context.Background())
}

// journal is the folder in which the processes write down what they do.
type journal string

func (j journal) write(word, event string) {
	f, err := os.OpenFile(filepath.Join(string(j), "journal"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d %s %s\n", os.Getpid(), word, event)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		panic(err)
	}
}

// lock takes the event's lock, which ends with the process too.
func (j journal) lock(event string) (unlock func(), ok bool) {
	f, err := os.OpenFile(filepath.Join(string(j), event+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		panic(err)
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return func() { f.Close() }, true
}

// once returns whether nobody has passed this point of the event before.
func (j journal) once(point, event string) bool {
	f, err := os.OpenFile(filepath.Join(string(j), event+"."+point), os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// die kills the process the first time that it comes to this point of an event which
// is to see that.
func (j journal) die(point int, event string) {
	if number(event)%points == point && j.once(strconv.Itoa(point), event) {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}

// The points: each event has one, by its number.
const (
	inTheHandler    = iota
	beforeConfirmed // after the success
	beforeAnswered  // after the confirmation
	nowhere         // but it is slow
	points
)

func number(event string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(event, "evt_"))
	if err != nil {
		panic(err)
	}
	return n
}

// work is the handler: what a stranger's webhook does in a program, with the failures
// that such programs have.
func (j journal) work(w http.ResponseWriter, r *http.Request) {
	event := webhook.Events(r.Context())[0].ID
	unlock, alone := j.lock(event)
	if !alone {
		j.write(overlaps, event)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer unlock()
	j.write(began, event)
	time.Sleep(rand.N(100 * time.Millisecond))
	if number(event)%points == nowhere {
		time.Sleep(reservation/3 + 100*time.Millisecond) // it is prolonged meanwhile
	}
	j.die(inTheHandler, event)
	switch rand.IntN(8) {
	case 0:
		http.Error(w, "one in eight fails", http.StatusInternalServerError)
		return
	case 1:
		panic("one in eight panics")
	}
	j.write(succeeded, event)
	io.WriteString(w, "done")
}

// journalKeys writes down what is confirmed. The events are in the context.
type journalKeys struct {
	store.Keys
	j journal
}

func (k journalKeys) Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
	event := webhook.Events(ctx)[0].ID
	k.j.die(beforeConfirmed, event)
	err := k.Keys.Confirm(ctx, owner, keys, window)
	if err == nil {
		k.j.write(confirmed, event)
		k.j.die(beforeAnswered, event)
	}
	return err
}

// sabotaged returns keys, or what does one thing wrong.
func sabotaged(how string, keys journalKeys) store.Keys {
	switch how {
	case confirmFirst:
		return earlyKeys{keys}
	case reserveInMemory:
		return privateKeys{keys, memory.New()}
	case confirmNothing:
		keys.Keys = forgetfulKeys{keys.Keys}
	}
	return keys
}

type earlyKeys struct{ journalKeys }

func (k earlyKeys) Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
	known, err := k.Keys.Reserve(ctx, owner, keys, lease)
	if err == nil && !known[0] {
		err = k.Keys.Confirm(ctx, owner, keys, time.Hour)
	}
	return known, err
}

type privateKeys struct {
	journalKeys
	own *memory.Store
}

func (k privateKeys) Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
	known, err := k.Keys.Reserve(ctx, owner, keys, lease)
	if err == nil && known[0] {
		return known, nil
	}
	if err == nil {
		err = k.Keys.Release(ctx, owner, keys)
	}
	if err != nil {
		return nil, err
	}
	return k.own.Reserve(ctx, owner, keys, lease)
}

func (k privateKeys) Release(ctx context.Context, owner [16]byte, keys [][32]byte) error {
	return k.own.Release(ctx, owner, keys)
}

type forgetfulKeys struct{ store.Keys }

func (k forgetfulKeys) Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, _ time.Duration) error {
	return k.Release(ctx, owner, keys)
}
