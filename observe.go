package webhook

import (
	"log/slog"

	"github.com/surehook/webhook/internal/observe"
)

// Telemetry is where log records go; the zero value takes slog.Default.
//
// Every received event and every finished attempt is one record at INFO,
// refused requests are records at WARN (limited in rate, with a count of those
// left out), dead letters at ERROR, the rest is DEBUG. No record holds a
// payload, a secret or a signature.
type Telemetry struct {
	Logger *slog.Logger
}

func (t Telemetry) observer() *observe.Observer { return observe.New(t.Logger) }
