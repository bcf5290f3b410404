// Package refusal says why a request was refused: with a cause from a short
// list, for counting, and in words that name the remedy, for the person who
// reads the log. None of it goes to the sender, and none of it holds a MAC, a
// secret or anything of a body.
package refusal

import "time"

// Cause is the reason in a log record.
type Cause string

// The causes. Those of the check itself come first, the request's own last.
const (
	Signature    Cause = "signature"      // well formed, and no secret fits
	NoHeader     Cause = "header_missing" // one that carries the signature, or is signed
	BadHeader    Cause = "header_format"  // there, but not as this sender writes it
	OtherSender  Cause = "other_sender"   // signed by the scheme of somebody else
	NoSecret     Cause = "no_secret"      // there is none to try
	Unavailable  Cause = "secrets"        // the secrets could not be found out
	Clock        Cause = "clock"          // the signed time is outside the tolerance
	Malformed    Cause = "malformed"
	TooLarge     Cause = "too_large"
	Incomplete   Cause = "incomplete_body" // cut short, or not as long as announced
	Slow         Cause = "slow_body"
	Consumed     Cause = "body_consumed" // somebody read it before
	Method       Cause = "method"
	Check        Cause = "check" // an error of a custom check
	Unconfigured Cause = "unconfigured"
)

// Error is a refusal.
type Error struct {
	Cause Cause
	Err   error         // the sentinel that callers branch on, or what went wrong; may be nil
	Text  string        // the diagnosis; empty: Err has it
	Skew  time.Duration // Clock: by how much the signed time is ahead of the clock
	Tried int           // Signature: how many secrets were tried
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return "webhook: " + e.Text
	case e.Text == "":
		return e.Err.Error()
	default:
		return e.Err.Error() + ": " + e.Text
	}
}

func (e *Error) Unwrap() error { return e.Err }
