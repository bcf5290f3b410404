package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/surehook/webhook"
)

// request is a webhook as its sender would send it.
type request struct {
	what  string
	path  string
	from  sender
	age   time.Duration // of its signature
	event webhook.Event // what its headers need; the rest is in the body
}

// forged returns q signed by somebody who does not know the secret, but what it
// looks like.
func (q request) forged() request {
	guess := strings.Repeat("0", 32)
	if strings.HasPrefix(q.from.secret, "whsec_") {
		guess = "whsec_" + guess
	}
	q.what, q.from.secret = q.what+", forged", guess
	return q
}

// stale returns q as somebody captured it a while ago.
func (q request) stale(age time.Duration) request {
	q.what, q.age = q.what+", stale", age
	return q
}

// again returns q as its sender sends it when it did not see the answer.
func (q request) again() request {
	q.what += ", again"
	return q
}

// replayed returns q as somebody captured it, with the id changed.
func (q request) replayed(id string) request {
	q.what, q.event.ID = q.what+", another id", id
	return q
}

// another returns the nth event that is like q.
func (q request) another(n int) request {
	q.event.ID = fmt.Sprint(q.event.ID, "_", n)
	q.event.Body = bytes.ReplaceAll(q.event.Body, []byte(`"id": "evt_`), fmt.Appendf(nil, `"id": "evt_%d_`, n))
	return q
}

// send signs q as its sender would, posts it, and returns the answer.
func (q request) send(ctx context.Context, base string) (status int, text string, err error) {
	v, err := q.from.preset(q.from.secret)
	if err != nil {
		return 0, "", err
	}
	target, err := url.Parse(base + q.path)
	if err != nil {
		return 0, "", err
	}
	signed := &webhook.Request{
		Method: http.MethodPost, URL: target, Header: http.Header{"Content-Type": {"application/json"}},
		Body: q.event.Body, Time: time.Now().Add(-q.age), Secrets: []webhook.Secret{{Value: q.from.secret}},
	}
	if err := v.Sign(signed, q.event); err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, signed.Method, target.String(), bytes.NewReader(signed.Body))
	if err != nil {
		return 0, "", err
	}
	req.Header = signed.Header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}
