package webhook

import (
	"bufio"
	"errors"
	"net"
	"net/http"
)

// statusWriter passes everything on at once, and keeps the status. It has Flush
// because handlers look for it; what else the writer behind can do is found by
// http.ResponseController.
type statusWriter struct {
	http.ResponseWriter
	status   int // 0: none was written
	hijacked bool
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	w.ResponseWriter.WriteHeader(status)
	// 1xx go before the answer; but 101 is one: the protocol has changed.
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.note(status)
	}
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.note(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// FlushError sends what was written, and with it the header.
func (w *statusWriter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		w.note(http.StatusOK)
	}
	return err
}

// Flush is FlushError for those that look for an http.Flusher.
func (w *statusWriter) Flush() { _ = w.FlushError() }

// Hijack gives the connection away: what is written there is not seen here.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, rw, err
}

// note keeps the first status: later ones are not sent.
func (w *statusWriter) note(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// succeeded returns whether a handler that has returned did its work.
func (w *statusWriter) succeeded() bool { return w.status/100 == 2 && !w.hijacked }
