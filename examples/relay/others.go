package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
)

// shop is somebody else's service: it sends to the relay.
type shop struct{ secret string }

// sell sends two events, the first of them twice, and a forged one between.
func (s *shop) sell(ctx context.Context, w io.Writer, url string) error {
	const first, second = `{"type":"order.paid","data":{"amount":4200}}`, `{"type":"order.paid","data":{"amount":1700}}`
	for _, x := range []struct {
		what, secret, id, body string
		want                   int
	}{
		{"", s.secret, "msg_1", first, http.StatusOK},
		{", forged", signature.NewSecret(), "msg_3", second, http.StatusUnauthorized},
		{", once more", s.secret, "msg_1", first, http.StatusOK},
		{"", s.secret, "msg_2", second, http.StatusOK},
	} {
		got, err := post(ctx, url, x.secret, x.id, x.body)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "shop sends %s%s: %d\n", x.id, x.what, got)
		if got != x.want {
			return fmt.Errorf("%s%s was answered %d instead of %d", x.id, x.what, got, x.want)
		}
	}
	return nil
}

// post sends an event, signed with the secret, and returns the answer's status.
func post(ctx context.Context, url, secret, id, body string) (int, error) {
	v, err := provider.StandardWebhooks(secret)
	if err != nil {
		return 0, err
	}
	signed := &webhook.Request{Body: []byte(body), Secrets: []webhook.Secret{{Value: secret}}}
	if err := v.Sign(signed, webhook.Event{ID: id}); err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(signed.Body))
	if err != nil {
		return 0, err
	}
	req.Header = signed.Header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// subscriber is somebody else's service: the relay sends to it.
type subscriber struct {
	secret string

	mu   sync.Mutex
	seen []string
}

func (s *subscriber) handler() http.Handler {
	v := webhook.Must(provider.StandardWebhooks(s.secret))
	v.Telemetry = quiet
	return webhook.Verify("relay", v)(http.HandlerFunc(s.receive))
}

func (s *subscriber) receive(w http.ResponseWriter, r *http.Request) {
	var p payment
	if err := webhook.Events(r.Context())[0].Decode(&p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, fmt.Sprint(p.Data.Event, " ", p.Data.Amount))
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// got returns what it was sent, sorted: deliveries have no order.
func (s *subscriber) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.seen))
}
