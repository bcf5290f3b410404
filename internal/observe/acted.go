package observe

import (
	"context"
	"log/slog"
	"time"

	"github.com/surehook/webhook/store"
)

// Action is what a person did to a queue.
type Action uint8

// The actions.
const (
	Redriven Action = iota
	Ended
	Erased
	Paused
	Resumed
	Renamed
)

var actedText = map[Action]string{
	Redriven: "webhook deliveries redriven",
	Ended:    "webhook deliveries discarded",
	Erased:   "webhook deliveries erased",
	Paused:   "webhook destination paused",
	Resumed:  "webhook destination resumed",
	Renamed:  "webhook destination renamed",
}

// Keys of the attributes of Acted.
const (
	KeyFilter = "filter" // the names of its fields that were set
	KeyTo     = "to"     // the new name of a destination
)

// Act is an action, and what came of it.
type Act struct {
	Action     Action
	Queue      string
	Filter     store.Filter // what it was to match
	Deliveries int          // that were changed; -1: it is about none
	To         string       // the new name
	Reason     string
	Err        error // why it ended early
}

// Acted records an action at INFO. Of the filter it has the values that other
// records have too, and of the rest that it was set: subjects may be people.
func Acted(ctx context.Context, log *slog.Logger, a Act) {
	if log == nil {
		log = slog.Default()
	}
	if !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String(KeyQueue, a.Queue))
	f := &a.Filter
	for _, v := range [...]struct{ key, value string }{
		{KeyDestination, f.Destination},
		{KeyTo, a.To},
		{KeySource, f.Source},
		{KeyTenant, f.Tenant},
		{KeyEventType, f.Type},
		{KeyEventID, f.EventID},
		{KeyReason, a.Reason},
	} {
		if v.value != "" {
			attrs = append(attrs, slog.String(v.key, Clean(v.value)))
		}
	}
	if a.Deliveries >= 0 {
		attrs = append(attrs, slog.Any(KeyFilter, fieldsOf(f)), slog.Int(KeyDeliveries, a.Deliveries))
	}
	if a.Err != nil {
		attrs = append(attrs, slog.String(KeyError, Clean(a.Err.Error())))
	}
	log.LogAttrs(ctx, slog.LevelInfo, actedText[a.Action], attrs...)
}

// fieldsOf names the fields of f that are set; none: it matches all.
func fieldsOf(f *store.Filter) []string {
	set := func(t time.Time) bool { return !t.IsZero() }
	fields := []string{}
	for _, x := range [...]struct {
		name string
		set  bool
	}{
		{"IDs", f.IDs != nil},
		{"Destination", f.Destination != ""},
		{"Source", f.Source != ""},
		{"Tenant", f.Tenant != ""},
		{"Type", f.Type != ""},
		{"Subject", f.Subject != ""},
		{"EventID", f.EventID != ""},
		{"States", f.States != nil},
		{"Since", set(f.Since)},
		{"Before", set(f.Before)},
	} {
		if x.set {
			fields = append(fields, x.name)
		}
	}
	return fields
}
