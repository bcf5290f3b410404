package after

import (
	"context"
	"net/http"

	"github.com/go-playground/webhooks/v6/github"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// Playground calls pushed for each push. The types of the payloads can stay.
func Playground(inbox *webhook.Inbox, secret string, pushed func(context.Context, github.PushPayload) error) (http.Handler, error) {
	verifier, err := provider.GitHub(secret)
	if err != nil {
		return nil, err
	}
	inbox.Handle("deploy", func(ctx context.Context, e webhook.Event) error {
		switch github.Event(e.Type) {
		case github.PushEvent:
			var payload github.PushPayload
			if err := e.Decode(&payload); err != nil {
				return err // a dead letter
			}
			return pushed(ctx, payload)
		default: // not of interest
			return nil
		}
	})
	return webhook.Verify("github", verifier)(inbox.Receive("deploy")), nil
}
