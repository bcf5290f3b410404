package endtoend

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// beforeAnswer is the point at which the endpoints kill themselves.
const beforeAnswer = "between the work and the answer"

// What endpoints write of a request: that it came, that it was taken, or that its
// signature did not fit.
const (
	wroteCame   = "came"
	wroteTook   = "took"
	wroteForged = "forged"
)

// serveEndpoints is the process of all endpoints, which fail at random unless they
// are calm.
func serveEndpoints() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// Written at once, so that a kill takes nothing back.
	posts, err := os.OpenFile(os.Getenv(envPosts), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	verifier, err := provider.StandardWebhooks(secret)
	if err != nil {
		return err
	}
	verifier.Telemetry.Logger = slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	take := webhook.Verify("sender", verifier)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := webhook.Events(r.Context())[0]
		var payload struct{ Key string }
		if err := e.Decode(&payload); err != nil {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		write := func(what string) {
			fmt.Fprintln(posts, what, payload.Key, r.PathValue("endpoint"), e.ID)
		}
		write(wroteCame)
		if os.Getenv(envCalm) == "" && misbehave(w, r) {
			return
		}
		write(wroteTook)
		die(beforeAnswer, 50)
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("/{endpoint}", func(w http.ResponseWriter, r *http.Request) {
		answer := &answerStatus{ResponseWriter: w}
		take.ServeHTTP(answer, r)
		if answer.status == http.StatusUnauthorized {
			fmt.Fprintln(posts, wroteForged, "-", r.PathValue("endpoint"), cmp.Or(r.Header.Get("Webhook-Id"), "-"))
		}
	})
	l, err := net.Listen("tcp", os.Getenv(envAddr))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(l)
	fmt.Println("ready")
	<-ctx.Done()
	return srv.Close()
}

// answerStatus notes the status of an answer.
type answerStatus struct {
	http.ResponseWriter
	status int
}

func (a *answerStatus) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answerStatus) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// misbehave reports whether it has done with r what a receiver should not.
func misbehave(w http.ResponseWriter, r *http.Request) bool {
	switch n := rand.IntN(1000); {
	case n < 100:
		w.WriteHeader(http.StatusInternalServerError)
	case n < 130: // hangs
		<-r.Context().Done()
	case n < 160: // resets the connection
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return false
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	case n < 230 && r.PathValue("endpoint") == "b": // it is held for a second
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case n < 170:
		w.WriteHeader(http.StatusUnprocessableEntity) // for good
	default:
		if n < 300 {
			time.Sleep(rand.N(80 * time.Millisecond)) // slow
		}
		return false
	}
	return true
}

// posted is a line of the file that the endpoints write.
type posted struct{ what, key, endpoint, id string }

// keyOf reads the key of an event's body.
func keyOf(body []byte) (string, error) {
	var payload struct{ Key string }
	err := json.Unmarshal(body, &payload)
	return payload.Key, err
}
