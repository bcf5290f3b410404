// Package provider has the checks of known senders: each function returns the
// [webhook.Verifier] of one.
//
//	stripe, err := provider.Stripe(os.Getenv("STRIPE_WEBHOOK_SECRET"))
//	if err != nil {
//		return err // names the format that is expected, never the secret
//	}
//	mux.Handle("/webhooks/stripe", webhook.Verify("stripe", stripe)(inbox.Receive("billing")))
//
// Several secrets are valid side by side, as while one is rotated. An empty one is
// an error: a variable that is not set must not open the door. Without any
// secret, Secrets is left nil, for a function of the request where each tenant
// has its own:
//
//	v, err := provider.Stripe()
//	v.Secrets = func(ctx context.Context, r *webhook.Request) ([]webhook.Secret, error) {
//		return secretsOf(ctx, r.PathValue("tenant"))
//	}
//
// The other fields of the Verifier may be changed too; they hold what the sender's
// documentation says.
//
// A sender that is not here is declared with package signature, or checked by a
// function of one's own, see [webhook.Verifier].
package provider
