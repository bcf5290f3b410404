package observe

import (
	"context"
	"log/slog"
	"time"

	"github.com/surehook/webhook/store"
)

// KeySpace is the attribute for DedupConfig.Space.
const KeySpace = "space"

// Handled is what became of an event that is not stored.
type Handled struct {
	Status     string // Processed, Failed, Duplicate; Received: it was handed on; Discarded: that was not needed
	Preset     string // its verifier's
	Space      string // of its keys; empty: it has none
	Reason     string
	Counted    bool // already, by what it was handed to, which knows the reason
	HTTPStatus int  // that was answered; 0: none
	Took       time.Duration
}

// handledText has the messages of Handled by status.
var handledText = map[string]string{
	Received:  "webhook event received",
	Duplicate: "webhook event received",
	Discarded: "webhook event received",
	Processed: "webhook event processed",
	Failed:    "webhook event failed",
}

// errorHandler is the type of error of an event whose handler did not succeed.
const errorHandler = "handler"

// Handled counts and records the outcome of an event that was handled while its
// sender waited, or handed on, or was known.
func (o *Observer) Handled(ctx context.Context, r *store.Record, secretID string, h Handled) {
	switch {
	case h.Counted:
	case h.Status == Duplicate:
		o.received(ctx, receipt{r.Source, h.Preset, Duplicate, ""}, 1)
	case h.Status == Failed:
		o.received(ctx, receipt{r.Source, h.Preset, Rejected, errorHandler}, 1)
	default:
		o.received(ctx, receipt{r.Source, h.Preset, accepted, ""}, 1)
	}
	log := o.Logger()
	if !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String(KeyStatus, h.Status))
	attrs = appendRecord(attrs, r)
	attrs = append(attrs, slog.Duration(KeyDuration, h.Took))
	if h.Space != "" {
		attrs = append(attrs, slog.String(KeySpace, h.Space))
	}
	if h.HTTPStatus != 0 {
		attrs = append(attrs, slog.Int(KeyHTTPStatus, h.HTTPStatus))
	}
	if secretID != "" {
		attrs = append(attrs, slog.String(KeySecretID, secretID))
	}
	if h.Reason != "" {
		attrs = append(attrs, slog.String(KeyReason, Clean(h.Reason)))
	}
	log.LogAttrs(ctx, slog.LevelInfo, handledText[h.Status], attrs...)
}

// ReservationFailure is what a store of keys could not do.
type ReservationFailure uint8

// The failures.
const (
	ReservationLost ReservationFailure = iota
	NotConfirmed
	NotReleased
)

var reservationFailedText = map[ReservationFailure]string{
	ReservationLost: "webhook reservation lost: the handler's context was ended",
	NotConfirmed:    "webhook event handled and not confirmed: if it comes again it is handled again",
	NotReleased:     "webhook reservation not released: the event is refused until it runs out",
}

// ReservationFailed records at WARN that f has happened to a request of source.
func (o *Observer) ReservationFailed(ctx context.Context, f ReservationFailure, source, space string, err error) {
	o.Logger().LogAttrs(ctx, slog.LevelWarn, reservationFailedText[f],
		slog.String(KeySource, source), slog.String(KeySpace, space), slog.String(KeyError, Clean(err.Error())))
}
