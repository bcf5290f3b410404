package before

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	svix "github.com/svix/svix-webhooks/go"
)

// User is what the sender calls one.
type User struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// Svix calls created for each user that was created.
func Svix(secret string, created func(context.Context, User) error) (http.Handler, error) {
	wh, err := svix.NewWebhook(secret)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err := wh.Verify(body, r.Header); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var event struct {
			Type string          `json:"type"`
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(body, &event); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch event.Type {
		case "user.created":
			var user User
			if err := json.Unmarshal(event.Data, &user); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			if err := created(r.Context(), user); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		default: // not of interest
		}
	}), nil
}
