package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

const title = `
webhook quickstart: verify, store, answer; then process, retry, never lose
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

// send sends q, tells the answer, and compares it with want.
func (r *report) send(ctx context.Context, base string, q request, want int, why string) error {
	got, err := q.send(ctx, base)
	if err != nil {
		return fmt.Errorf("send %s: %w", q.what, err)
	}
	r.line("%-34s → %d  %s", q.what, got, why)
	r.expect(got == want, "%s was answered %d instead of %d", q.what, got, want)
	return nil
}

// sendAll sends what senders send, and what they do not.
func (r *report) sendAll(ctx context.Context, s *service) error {
	r.section("Requests")
	for _, x := range []struct {
		request
		want int
		why  string
	}{
		{invoicePaid, 200, "stored for billing and audit"},
		{invoicePaid.again(), 200, "known: a duplicate, not handled twice"},
		{invoicePaid.forged(), 401, "signed with another secret: nothing is stored"},
		{invoicePaid.stale(6 * time.Minute), 401, "signed 6 minutes ago: a replay, nothing is stored"},
		{contactCreated, 200, "stored for crm"},
		{contactCreated.forged(), 401, "and so for every sender"},
	} {
		if err := r.send(ctx, s.url, x.request, x.want, x.why); err != nil {
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
