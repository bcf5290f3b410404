package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

const title = `
webhook quickstart: verify, store, answer; then process, retry, never lose; and the same outwards
`

// report tells what happens, and remembers what should have been otherwise.
type report struct {
	wrong []string
}

func (r *report) section(title string) { fmt.Printf("\n%s\n", title) }

func (r *report) line(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

// expect notes what differs.
func (r *report) expect(ok bool, format string, args ...any) {
	if !ok {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
}

// name is a request as it is told.
func (q request) name() string { return fmt.Sprintf("%-8s%-26s", q.from.source, q.what) }

// send sends q, tells the answer, and compares it with want.
func (r *report) send(ctx context.Context, base string, q request, want int, why string) error {
	got, err := r.answer(ctx, base, q, want, "")
	if err == nil {
		r.line("%s → %d  %s", q.name(), got, why)
	}
	return err
}

// answer sends q, and compares the answer with the status and, where one is given,
// the text.
func (r *report) answer(ctx context.Context, base string, q request, status int, text string) (got int, err error) {
	got, said, err := q.send(ctx, base)
	if err != nil {
		return 0, fmt.Errorf("send %s: %w", q.what, err)
	}
	r.expect(got == status, "%s of %s was answered %d instead of %d", q.what, q.from.source, got, status)
	r.expect(text == "" || said == text, "%s of %s was answered %q instead of %q", q.what, q.from.source, said, text)
	return got, nil
}

// sendToEachRoute sends what each sender sends, and the same signed by somebody
// else before: it would be a duplicate otherwise.
func (r *report) sendToEachRoute(ctx context.Context, base string) error {
	r.section("Every sender on its route: first with a forged signature, then with its own")
	for _, x := range []struct {
		request
		text string // of the answer; empty: not looked at
		why  string
	}{
		{invoicePaid, "", "provider.Stripe; stored for billing and audit"},
		{contactCreated, "", "provider.StandardWebhooks; for crm"},
		{userCreated, "", "provider.Svix; for audit"},
		{pullRequest, "", "provider.GitHub; for audit"},
		{appMention, "", "provider.Slack; for audit"},
		{urlVerification, challenge, "its challenge is echoed, nothing is stored"},
		{orderCreated, "", "provider.Shopify; for orders, an http.Handler that was there"},
	} {
		forged, err := r.answer(ctx, base, x.forged(), http.StatusUnauthorized, "signature refused\n")
		if err != nil {
			return err
		}
		own, err := r.answer(ctx, base, x.request, http.StatusOK, x.text)
		if err != nil {
			return err
		}
		r.line("%s → %d, %d  %s", x.name(), forged, own, x.why)
	}
	return nil
}

// sendOnceMore sends what was sent already.
func (r *report) sendOnceMore(ctx context.Context, base string) error {
	r.section("Once more")
	for _, x := range []struct {
		request
		want int
		why  string
	}{
		{invoicePaid.again(), http.StatusOK, "known: a duplicate, not handled twice"},
		{invoicePaid.stale(6 * time.Minute), http.StatusUnauthorized, "signed 6 minutes ago: a replay"},
		{pullRequest.replayed("0b989ba4-242f-11e5-81e1-c7b6966d2516"), http.StatusOK, "GitHub signs no id: known by its body"},
	} {
		if err := r.send(ctx, base, x.request, x.want, x.why); err != nil {
			return err
		}
	}
	return nil
}

// deadLetters tells what the person on call finds.
func (r *report) deadLetters(dead []store.Delivery) {
	r.section("Dead letters")
	for _, d := range dead {
		r.line("%s  %s for %s: %s", d.Record.ID, d.Record.Type, d.Destination, d.Reason)
	}
	r.expect(len(dead) == 1 && dead[0].Destination == crm && len(dead[0].Attempts) == 3,
		"one dead letter of crm with three attempts was to be there, not %d", len(dead))
}

func (r *report) redriven(n int) {
	r.line("crm is mended; redriven: %d", n)
	r.expect(n == 1, "%d deliveries were redriven instead of 1", n)
}

// wanted is the account as it must be: the outcomes of the attempts of each
// delivery, in order.
var wanted = map[string]string{
	"report.requested → reports": "processed: lost, processed",
	"invoice.paid → billing":     "processed: failed, failed, processed",
	"invoice.paid → audit":       "processed: processed",
	"contact.created → crm":      "processed: failed, failed, failed, processed",
	"user.created → audit":       "processed: processed",
	"pull_request → audit":       "processed: processed",
	"app_mention → audit":        "processed: processed",
	"orders/create → orders":     "processed: processed",
}

// account reads back from the store what became of everything.
func (r *report) account(ctx context.Context, q *webhook.Queue) error {
	r.section("What became of them, read back from the store")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  source\tevent\tdelivery\tstate: attempts")
	got := map[string]string{}
	for d, err := range q.Find(ctx, store.Filter{}) {
		if err != nil {
			return err
		}
		d, err := q.Get(ctx, d.ID)
		if err != nil {
			return err
		}
		e, err := webhook.EventOf(d.Record)
		if err != nil {
			return err
		}
		var outcomes []string
		for _, a := range d.Attempts {
			outcomes = append(outcomes, a.Outcome)
		}
		what := e.Type + " → " + d.Destination
		became := string(d.State) + ": " + strings.Join(outcomes, ", ")
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", e.Source, e.ID, what, became)
		r.expect(got[what] == "", "%s is there twice", what)
		r.expect(len(e.Body) > 0, "%s has no body", what)
		got[what] = became
	}
	for what, became := range wanted {
		r.expect(got[what] == became, "%s is %q instead of %q", what, got[what], became)
	}
	r.expect(len(got) == len(wanted), "%d deliveries are stored instead of %d", len(got), len(wanted))
	return w.Flush()
}

// verdict is the error that ends the program with 1.
func (r *report) verdict() error {
	if len(r.wrong) > 0 {
		return errors.New("not as promised:\n  " + strings.Join(r.wrong, "\n  "))
	}
	r.section("All as promised: nothing lost, nothing twice, nothing forged.")
	return nil
}
