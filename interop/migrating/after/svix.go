package after

import (
	"context"
	"net/http"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// User is what the sender calls one.
type User struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// Svix calls created for each user that was created.
func Svix(inbox *webhook.Inbox, secret string, created func(context.Context, User) error) (http.Handler, error) {
	verifier, err := provider.Svix(secret)
	if err != nil {
		return nil, err
	}
	inbox.Handle("users", func(ctx context.Context, e webhook.Event) error {
		switch e.Type {
		case "user.created":
			var event struct {
				Data User `json:"data"`
			}
			if err := e.Decode(&event); err != nil {
				return err // a dead letter
			}
			return created(ctx, event.Data)
		default: // not of interest
			return nil
		}
	})
	return webhook.Verify("svix", verifier)(inbox.Receive("users")), nil
}
