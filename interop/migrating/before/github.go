package before

import (
	"context"
	"net/http"

	"github.com/google/go-github/v89/github"
)

// GitHub calls pushed for each push.
func GitHub(secret string, pushed func(context.Context, *github.PushEvent) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, err := github.ValidatePayload(r, []byte(secret))
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		event, err := github.ParseWebHook(github.WebHookType(r), payload)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch event := event.(type) {
		case *github.PushEvent:
			if err := pushed(r.Context(), event); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		default: // not of interest
		}
	})
}
