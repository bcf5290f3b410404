package post

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// excerpt reads the body of resp, at most limit bytes as they come and as they
// are inflated, and returns the first keep of them. Its error is the
// connection's: a body that is no gzip is the receiver's affair.
func excerpt(resp *http.Response, keep, limit int64) ([]byte, error) {
	wire := &capped{r: resp.Body, left: limit + 1} // one more shows whether that was all
	body := inflate(wire, resp.Header.Get("Content-Encoding"))
	part := &io.LimitedReader{R: body, N: keep}
	kept, err := io.ReadAll(part)
	if err == nil {
		part.N = limit - keep + 1
		_, err = io.Copy(io.Discard, part)
	}
	if err != nil && wire.err == nil {
		// Broken gzip, or the cap: the rest, up to the cap, lets the connection
		// be used again.
		_, _ = io.Copy(io.Discard, wire) // wire remembers
	}
	if len(kept) == 0 {
		kept = nil
	}
	if wire.err != nil && !errors.Is(wire.err, io.EOF) {
		return kept, wire.err
	}
	return kept, nil
}

// inflate returns a reader of what r has, inflated if it is gzip and says so.
func inflate(r io.Reader, encoding string) io.Reader {
	if e := strings.ToLower(encoding); e != "gzip" && e != "x-gzip" {
		return r
	}
	buffered := bufio.NewReader(r)
	// https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1
	if magic, err := buffered.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return buffered
	}
	inflated, err := gzip.NewReader(buffered)
	if err != nil {
		return buffered
	}
	return inflated
}

// capped reads at most left bytes, and remembers what ended its source.
type capped struct {
	r    io.Reader
	left int64
	err  error
}

func (c *capped) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left <= 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.err = err
	return n, err
}

// judge returns why an answer is a failure, whatever its body says; nil: it is
// none. It completes r.
func judge(resp *http.Response, asked *url.URL, r *Result) error {
	status := resp.StatusCode
	if status >= 200 && status <= 299 {
		return nil
	}
	r.RetryAfter = RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	text := fmt.Sprintf("the answer is %d %s", status, http.StatusText(status))
	switch {
	case status >= 300 && status <= 399:
		r.Location = locate(resp.Header.Get("Location"), asked)
		if r.Location != "" {
			text += ", a redirect to " + r.Location + ", which is not followed"
		}
		return &failure{class: HTTP3xx, text: strings.TrimSpace(text)}
	case status >= 400 && status <= 499:
		return &failure{class: HTTP4xx, text: strings.TrimSpace(text)}
	case status >= 500 && status <= 599:
		return &failure{class: HTTP5xx, text: strings.TrimSpace(text)}
	default:
		return &failure{class: Protocol, text: strings.TrimSpace(text) + ", which ends no request"}
	}
}

// RetryAfter reads the header as https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
// has it: seconds, or a date. What lies in the past is a second, since 0 says
// that there is nothing.
func RetryAfter(header string, now time.Time) time.Duration {
	const most = 1 << 32 // seconds; more does not fit into a Duration
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseInt(header, 10, 64)
		if err != nil || seconds > most {
			seconds = most
		}
		return max(time.Duration(seconds)*time.Second, time.Second)
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(at.Sub(now), time.Second)
}

// locate returns host and port that a Location points to, seen from the URL that
// was asked; empty if there is none, or none of ordinary spelling. Its path and
// query may be secret.
func locate(header string, asked *url.URL) string {
	const most = 300 // bytes: a name, and a port
	location, err := url.Parse(header)
	if err != nil || header == "" {
		return ""
	}
	if location.Host == "" && location.Scheme == "" {
		location = asked // elsewhere on the same host
	}
	for _, c := range location.Host {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._:[]", c) {
			return ""
		}
	}
	if len(location.Host) > most {
		return ""
	}
	return location.Host
}
