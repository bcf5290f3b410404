package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func init() {
	deadline, patience, within = 20*time.Second, 300*time.Millisecond, time.Second
}

// Failing runs the suite against b as Run does, except for the cases that skip
// says, and returns those that fail with what they say.
func Failing(tb testing.TB, b Backend, skip func(name string) bool) map[string]string {
	tb.Helper()
	failing := map[string]string{}
	for _, c := range cases() {
		if skip(c.name) || c.needs != nil && !c.needs(b) {
			continue
		}
		record(tb, failing, c.name, func(r *recorder) { c.test(r, b) })
	}
	return failing
}

// FailingKeys is Failing for the clauses of store.Keys.
func FailingKeys(tb testing.TB, b KeysBackend, skip func(name string) bool) map[string]string {
	tb.Helper()
	failing := map[string]string{}
	for _, c := range keysCases() {
		if !skip(c.name) && (c.needs == nil || c.needs(b)) {
			record(tb, failing, c.name, func(r *recorder) { c.test(r, b) })
		}
	}
	return failing
}

// KeysClauses returns the names of the clauses of store.Keys.
func KeysClauses() (names []string) {
	for _, c := range keysCases() {
		names = append(names, c.name)
	}
	return names
}

// record runs a case, and notes in failing what it says if it fails.
func record(tb testing.TB, failing map[string]string, name string, run func(r *recorder)) {
	tb.Helper()
	r := &recorder{TB: tb}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.clean()
		run(r)
	}()
	<-done
	if r.Failed() {
		failing[name] = strings.Join(r.said, "\n")
	}
}

// recorder is the testing.TB of one case: what that says and whether it failed,
// where tb's own would fail.
type recorder struct {
	testing.TB

	mu       sync.Mutex // guards what follows
	failed   bool
	said     []string
	cleanups []func()
}

func (r *recorder) clean() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

func (r *recorder) say(failed bool, s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	r.said = append(r.said, s)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Helper()                   {}
func (r *recorder) Log(a ...any)              { r.say(false, fmt.Sprintln(a...)) }
func (r *recorder) Logf(f string, a ...any)   { r.say(false, fmt.Sprintf(f, a...)) }
func (r *recorder) Error(a ...any)            { r.say(true, fmt.Sprintln(a...)) }
func (r *recorder) Errorf(f string, a ...any) { r.say(true, fmt.Sprintf(f, a...)) }
func (r *recorder) Fail()                     { r.say(true, "Fail") }
func (r *recorder) FailNow()                  { r.say(true, "FailNow"); runtime.Goexit() }
func (r *recorder) Fatal(a ...any)            { r.Error(a...); runtime.Goexit() }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); runtime.Goexit() }
