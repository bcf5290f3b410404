package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/surehook/webhook/internal/refusal"
)

// firstRead is how much memory a request gets before a byte of its body has
// come: what it announces is not yet sent.
const firstRead = 16 << 10

// readBody reads r's body once, at most limit bytes. Its errors are refusals.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit, "Verifier.BodyLimit")
	}
	if r.Body == nil || r.Body == http.NoBody {
		return checkLength(nil, r.ContentLength)
	}
	body, err := readUpTo(r.Body, r.ContentLength, limit)
	var outer *http.MaxBytesError
	switch {
	case err == nil:
		return checkLength(body, r.ContentLength)
	case errors.Is(err, errLimit):
		return nil, tooLarge(limit, "Verifier.BodyLimit")
	case errors.As(err, &outer):
		return nil, tooLarge(outer.Limit, "a limit before Verify")
	case errors.Is(err, http.ErrBodyReadAfterClose):
		return nil, consumed()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal.Error{
			Cause: refusal.Slow,
			Text:  fmt.Sprintf("the body had not come when its time was over, %d bytes had", len(body)),
		}
	default:
		return nil, &refusal.Error{
			Cause: refusal.Incomplete, Err: ErrMalformed,
			Text: fmt.Sprintf("the body was cut short after %d bytes", len(body)),
		}
	}
}

var errLimit = errors.New("limit")

// readUpTo reads all of r, of which announced bytes are expected (-1: unknown),
// or returns errLimit having read one byte more than limit.
func readUpTo(r io.Reader, announced, limit int64) ([]byte, error) {
	size := int64(firstRead)
	if 0 <= announced && announced < size {
		size = announced + 1 // so that the end is seen without growing
	}
	buf := make([]byte, 0, size)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return buf, errLimit
		case err == io.EOF: // bare, by the contract of io.Reader; a wrapped one is a failure
			return buf, nil
		case err != nil:
			return buf, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)] // grows as append does
		}
	}
}

// checkLength refuses a body that is not as long as announced (-1: unknown).
// net/http itself reports one that was cut short; here it came whole, and was
// read or changed between net/http and Verify.
func checkLength(body []byte, announced int64) ([]byte, error) {
	got := int64(len(body))
	switch {
	case announced < 0 || got == announced:
		return body, nil
	case got == 0:
		return nil, consumed()
	default:
		return nil, &refusal.Error{
			Cause: refusal.Incomplete, Err: ErrMalformed,
			Text: fmt.Sprintf("the body has %d bytes of %d that were announced: it was read or changed before Verify", got, announced),
		}
	}
}

func tooLarge(limit int64, whose string) error {
	return &refusal.Error{
		Cause: refusal.TooLarge, Err: ErrTooLarge,
		Text: fmt.Sprintf("more than the %d bytes of %s", limit, whose),
	}
}

// consumed is no fault of the sender's: he is answered 500, and tries again when
// the program is mended.
func consumed() error {
	return &refusal.Error{
		Cause: refusal.Consumed,
		Text:  "the body was read before Verify: put Verify before whatever reads or binds it (a logger, a framework's Bind, ParseForm)",
	}
}

// setReadDeadline bounds the time for r's body, and returns what ends the bound
// when all of it has come. A refused request keeps it: the server reads on after
// the answer, in the hope of using the connection again. A writer that cannot do
// it has the bounds of its server alone.
func setReadDeadline(w http.ResponseWriter, r *http.Request, timeout time.Duration) (over func()) {
	if r.ContentLength == 0 {
		return func() {}
	}
	srv, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if srv != nil && srv.ReadTimeout > 0 && srv.ReadTimeout <= timeout {
		return func() {} // the server's own deadline is nearer: it stands
	}
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(timeout)) != nil {
		return func() {}
	}
	// There is nothing left to read of this request, and the server sets the
	// deadline of the next. One that passed meanwhile would end r's context.
	return func() { _ = rc.SetReadDeadline(time.Time{}) }
}

// restore gives r a body that can be read again, and as often as GetBody is
// called.
func restore(r *http.Request, body []byte) {
	r.GetBody = func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
}
