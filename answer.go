package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/surehook/webhook/internal/refusal"
)

// Answer ends a request before any handler: a handshake's reply, or a refusal
// with its reason. A Check returns one as its error to answer in its own words.
type Answer struct { //nolint:errname // a handshake's reply is no error, but ends a request like one
	Status int         // 200 to 599; zero: 200
	Header http.Header // Content-Type: default plain text; X-Content-Type-Options is always nosniff
	Body   []byte      // at most 64 KiB
	Err    error       // why the request was refused, for the log alone; nil: a handshake
}

// Error tells the status, and why the request was refused.
func (a *Answer) Error() string {
	if a.Err == nil {
		return fmt.Sprintf("webhook: answered with %d", a.Status)
	}
	return a.Err.Error()
}

// Unwrap returns Err.
func (a *Answer) Unwrap() error { return a.Err }

// maxAnswer bounds the body of a handshake's answer: senders ask to have a token
// of some dozen bytes echoed; more is somebody's attempt at reflection.
const maxAnswer = 64 << 10

// Texts of the refusals, a constant for each status: a forger learns nothing,
// the log has the reason.
const (
	textMalformed   = "malformed request"
	textSignature   = "signature refused"
	textMethod      = "method not allowed: webhooks are sent with POST, which a redirect (to https, to another slash) turns into GET"
	textSlow        = "body not received in time"
	textTooLarge    = "body too large"
	textInternal    = "internal error"
	textUnavailable = "not available, try again later"
)

// retryAfter is what a sender is told, in seconds, when the reason is ours.
const retryAfter = "10"

// answerOf returns the answer to a request that was refused with err.
func answerOf(err error, preset string) *Answer {
	var a *Answer
	if errors.As(err, &a) {
		if a != nil {
			return a.checked()
		}
		err = &refusal.Error{Cause: refusal.Check, Text: "the check returned an Answer that is nil"}
	}
	if preset != "" {
		err = fmt.Errorf("%w (checked as %s)", err, preset)
	}
	status, text := statusOf(err)
	a = refuse(status, text, err)
	if status == http.StatusServiceUnavailable {
		a.Header.Set("Retry-After", retryAfter)
	}
	return a
}

func statusOf(err error) (status int, text string) {
	switch causeOf(err) {
	case refusal.Unconfigured, refusal.Consumed:
		return http.StatusInternalServerError, textInternal
	case refusal.Unavailable:
		return http.StatusServiceUnavailable, textUnavailable
	case refusal.Slow:
		return http.StatusRequestTimeout, textSlow
	default: // the sentinel says it
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge, textTooLarge
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest, textMalformed
	default: // ErrSignature, ErrStale, and whatever a check could not do
		return http.StatusUnauthorized, textSignature
	}
}

// causeOf returns the cause of a refusal, for the log.
func causeOf(err error) refusal.Cause {
	var r *refusal.Error
	switch {
	case errors.As(err, &r):
		return r.Cause
	case errors.Is(err, ErrSignature):
		return refusal.Signature
	case errors.Is(err, ErrStale):
		return refusal.Clock
	case errors.Is(err, ErrTooLarge):
		return refusal.TooLarge
	case errors.Is(err, ErrMalformed):
		return refusal.Malformed
	default:
		return refusal.Check
	}
}

func refuse(status int, text string, err error) *Answer {
	return &Answer{
		Status: status,
		Header: http.Header{
			"Content-Type":           {"text/plain; charset=utf-8"},
			"X-Content-Type-Options": {"nosniff"},
		},
		Body: []byte(text + "\n"),
		Err:  err,
	}
}

func methodNotAllowed(allowed []string) *Answer {
	a := refuse(http.StatusMethodNotAllowed, textMethod, &refusal.Error{
		Cause: refusal.Method,
		Text:  "method not allowed: the sender must call the URL itself, with its scheme and slashes, since a redirect turns a POST into a GET",
	})
	a.Header.Set("Allow", strings.Join(allowed, ", "))
	return a
}

// unavailable is the refusal of a request whose secrets could not be found out.
func unavailable(err error) error {
	return &refusal.Error{Cause: refusal.Unavailable, Err: fmt.Errorf("webhook: find the secrets: %w", err)}
}

// checked returns a as it may be sent: a check's own answer.
func (a *Answer) checked() *Answer {
	c := *a
	if c.Status == 0 {
		c.Status = http.StatusOK
	}
	if c.Status < 200 || c.Status > 599 || len(c.Body) > maxAnswer {
		return refuse(http.StatusInternalServerError, textInternal, &refusal.Error{
			Cause: refusal.Check, Err: a.Err,
			Text: fmt.Sprintf("the check's answer has status %d and %d bytes: 200 to 599 and at most %d can be sent", a.Status, len(a.Body), maxAnswer),
		})
	}
	if c.Err != nil && c.Body == nil {
		_, text := statusOf(c.Err)
		c.Body = []byte(text + "\n")
	}
	c.Header = a.Header.Clone()
	if c.Header == nil {
		c.Header = http.Header{}
	}
	if c.Header.Get("Content-Type") == "" {
		c.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	c.Header.Set("X-Content-Type-Options", "nosniff")
	return &c
}

// write sends a.
func (a *Answer) write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(a.Status)
	w.Write(a.Body) //nolint:gosec // an echo is plain text with nosniff, unless the check says otherwise
}
