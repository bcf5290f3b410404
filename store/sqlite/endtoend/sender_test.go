package endtoend

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// workers is how many send side by side, atLeast how many events each sends,
// however slow the machine is.
const (
	workers = 8
	atLeast = 20
)

// send is the sender process: eight workers that send events of their own, each
// until it is answered 2xx, and write down what was. When its standard input ends
// they finish the event at hand, and it exits, if each has sent atLeast.
func send() error {
	verifier, err := provider.StandardWebhooks(secret)
	if err != nil {
		return err
	}
	target := &url.URL{Scheme: "http", Host: os.Getenv(envAddr), Path: "/hook"}
	file, err := os.Create(os.Getenv(envAcked))
	if err != nil {
		return err
	}
	acked := bufio.NewWriter(file)
	var mu sync.Mutex // guards acked

	var stopping atomic.Bool
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stopping.Store(true)
	}()

	client := &http.Client{Timeout: 5 * time.Second}
	errs := make(chan error, workers)
	for worker := range workers {
		go func() {
			errs <- func() error {
				for n := 0; n < atLeast || !stopping.Load(); n++ {
					id := fmt.Sprintf("evt_%d_%d", worker, n)
					if err := deliver(client, verifier, target, id); err != nil {
						return err
					}
					mu.Lock()
					fmt.Fprintln(acked, id)
					mu.Unlock()
					time.Sleep(time.Millisecond) // some hundreds a second each are enough
				}
				return nil
			}()
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			return err
		}
	}
	if err := acked.Flush(); err != nil {
		return err
	}
	return file.Close()
}

// deliver sends the event until it is answered 2xx, for a minute at most.
func deliver(client *http.Client, v webhook.Verifier, target *url.URL, id string) error {
	body := fmt.Appendf(nil, `{"type":"order.paid","data":{"id":%q}}`, id)
	var last error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		signed := &webhook.Request{
			Method: http.MethodPost, URL: target, Header: http.Header{}, Body: body, Time: time.Now(),
			Secrets: []webhook.Secret{{Value: secret}},
		}
		if err := v.Sign(signed, webhook.Event{ID: id}); err != nil {
			return err
		}
		req, err := http.NewRequest(http.MethodPost, target.String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header = signed.Header
		res, err := client.Do(req)
		if err != nil {
			last = err // killed: it comes back
			continue
		}
		res.Body.Close()
		switch {
		case res.StatusCode/100 == 2:
			return nil
		case res.StatusCode != http.StatusServiceUnavailable:
			return fmt.Errorf("%s: answered %s", id, res.Status)
		}
		last = fmt.Errorf("answered %s", res.Status)
	}
	return fmt.Errorf("%s: not acknowledged in a minute: %w", id, last)
}
