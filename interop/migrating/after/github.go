package after

import (
	"context"
	"net/http"

	"github.com/google/go-github/v89/github"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// GitHub calls pushed for each push.
func GitHub(inbox *webhook.Inbox, secret string, pushed func(context.Context, *github.PushEvent) error) (http.Handler, error) {
	verifier, err := provider.GitHub(secret)
	if err != nil {
		return nil, err
	}
	inbox.Handle("deploy", func(ctx context.Context, e webhook.Event) error {
		switch e.Type { // X-GitHub-Event
		case "push":
			var event github.PushEvent
			if err := e.Decode(&event); err != nil {
				return err // a dead letter
			}
			return pushed(ctx, &event)
		default: // not of interest
			return nil
		}
	})
	return webhook.Verify("github", verifier)(inbox.Receive("deploy")), nil
}
