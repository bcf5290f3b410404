package before

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-playground/webhooks/v6/github"
)

// Playground calls pushed for each push.
func Playground(secret string, pushed func(context.Context, github.PushPayload) error) (http.Handler, error) {
	hook, err := github.New(github.Options.Secret(secret))
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, err := hook.Parse(r, github.PushEvent)
		if errors.Is(err, github.ErrEventNotFound) {
			return // not of interest
		}
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch payload := payload.(type) {
		case github.PushPayload:
			if err := pushed(r.Context(), payload); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		default: // Parse was asked for nothing else
		}
	}), nil
}
