// Package endtoend tests the whole of it, from the sender's socket to the file:
// real processes over real HTTP, killed and stopped, and then the account of
// what was acknowledged, what was processed and what took effect.
package endtoend

import (
	"fmt"
	"os"
	"testing"
)

// The processes of a run are this test binary, started again in a role.
const (
	envRole     = "ENDTOEND_ROLE"
	envDB       = "ENDTOEND_DB"       // file of the receiver's store
	envAddr     = "ENDTOEND_ADDR"     // where it listens
	envAcked    = "ENDTOEND_ACKED"    // file to which the sender writes what was acknowledged
	envSabotage = "ENDTOEND_SABOTAGE" // what the receiver does wrong
	envSuicide  = "ENDTOEND_SUICIDE"  // one in how many times it kills itself at each of its points; 0: never
	envLease    = "ENDTOEND_LEASE"    // of its deliveries; empty: the default
	envJournal  = "ENDTOEND_JOURNAL"  // folder in which handlers write down what they do
	envPosts    = "ENDTOEND_POSTS"    // file to which the endpoints write what came
	envPoint    = "ENDTOEND_POINT"    // point at which the dispatcher or the endpoints kill themselves; empty: none
	envLong     = "ENDTOEND_LONG"     // set: an attempt of the dispatcher may take as long as by default
	envCalm     = "ENDTOEND_CALM"     // set: nothing new is sent, and the endpoints take everything
)

const secret = "whsec_ZW5kIHRvIGVuZCwgZnJvbSBzb2NrZXQgdG8gZGlzaw=="

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(envRole); role {
	case "":
		os.Exit(m.Run())
	case "receiver":
		err = receive()
	case "sender":
		err = send()
	case "handler":
		err = handle()
	case "dispatcher":
		err = dispatch()
	case "endpoints":
		err = serveEndpoints()
	default:
		err = fmt.Errorf("no such role: %s", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
