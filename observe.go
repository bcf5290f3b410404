package webhook

import (
	"log/slog"

	"github.com/surehook/webhook/internal/observe"
)

// Telemetry is where log records go; the zero value takes slog.Default.
//
// Every finished attempt is one record at INFO, and so is every received event,
// unless it is attempted at once: then its own record is DEBUG, since that of the
// attempt follows. Refused requests are records at WARN (limited in rate, with a
// count of those left out), dead letters at ERROR, the rest is DEBUG. No record
// holds a payload, a secret or a signature.
type Telemetry struct {
	Logger *slog.Logger
}

func (t Telemetry) observer() *observe.Observer { return observe.New(t.Logger) }
