package observability

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
)

// Marked values, to be looked for in everything that is emitted.
const (
	markedPayload = "PAYLOAD-4be1c09d"
	markedSecret  = "SECRET--9f27a6b3-must-not-leak-"
	markedBearer  = "BEARER-71d0e8c5"
	markedCookie  = "COOKIE-c3a94f12"
)

// TestLeak runs everything with marked values, and looks for them in metrics,
// spans, records, answers and errors.
func TestLeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := "whsec_" + base64.StdEncoding.EncodeToString([]byte(markedSecret))
		s := start(t)
		inbox := webhook.Must(webhook.NewInbox(s.st, webhook.InboxConfig{Queue: webhook.QueueConfig{
			Name: "marked", Telemetry: s.telemetry,
			Retry: webhook.RetryPolicy{Attempts: 2, Delays: []time.Duration{time.Second}},
		}}))
		inbox.Handle("panics", func(_ context.Context, e webhook.Event) error { panic(string(e.Body)) })
		inbox.Handle("decodes", func(_ context.Context, e webhook.Event) error { return e.Decode(&struct{ Amount int }{}) })
		inbox.Handle("answers", webhook.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, markedPayload, http.StatusTeapot)
		})))
		inbox.Handle("fine", func(context.Context, webhook.Event) error { return nil })
		v := webhook.Must(provider.StandardWebhooks(key))
		v.Telemetry = s.telemetry
		s.mux.Handle("/webhooks/marked", s.arrival(webhook.Verify("marked", v)(inbox.Receive("panics", "decodes", "answers", "fine"))))
		s.mux.Handle("/webhooks/open", inbox.Receive("fine")) // Verify was forgotten
		ctx, end := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- inbox.Run(ctx) }()
		synctest.Wait()

		secrets := []string{markedPayload, markedSecret, base64.StdEncoding.EncodeToString([]byte(markedSecret)), markedBearer, markedCookie}
		var answers strings.Builder
		send := func(path string, change func(r *webhook.Request)) {
			r := &webhook.Request{
				Method: "POST", URL: &url.URL{Path: path}, Time: time.Now(), Secrets: []webhook.Secret{{Value: key}},
				Body: []byte(`{"type":"order.paid","Amount":"` + markedPayload + `"}`), Header: http.Header{},
			}
			require.NoError(t, v.Sign(r, webhook.Event{ID: "msg_1"}))
			_, mac, _ := strings.Cut(r.Header.Get("Webhook-Signature"), ",")
			require.NotEmpty(t, mac)
			secrets = append(secrets, mac)
			r.Header.Set("Authorization", "Bearer "+markedBearer)
			r.Header.Set("Cookie", "s="+markedCookie)
			r.Header.Set("Traceparent", "00-"+markedBearer)
			if change != nil {
				change(r)
			}
			w := s.post(path+"?token="+markedBearer, r)
			answers.WriteString(w.Body.String())
			require.NoError(t, w.Result().Header.Write(&answers))
		}
		send("/webhooks/marked", nil)
		send("/webhooks/marked", nil)
		send("/webhooks/open", nil)
		send("/webhooks/marked", func(r *webhook.Request) { r.Body = append(r.Body, ' ') })
		send("/webhooks/marked", func(r *webhook.Request) { r.Header.Set("Webhook-Timestamp", markedPayload) })
		send("/webhooks/marked", func(r *webhook.Request) { r.Header.Set("Webhook-Signature", "v9,"+markedPayload) })
		send("/webhooks/marked", func(r *webhook.Request) { r.Header.Del("Webhook-Id") })
		pass(time.Hour)()
		s.st.failing.Store(true)
		send("/webhooks/marked", nil)
		_, err := inbox.Add(t.Context(), webhook.Event{Source: "marked", ID: "2", Body: []byte(markedPayload), To: []string{"fine"}})
		require.Error(t, err)
		errs := []error{err}
		s.st.failing.Store(false)
		for _, e := range []webhook.Event{
			{Source: "marked", ID: strings.Repeat(markedPayload, 1000), To: []string{"fine"}},
			{Source: "marked", ID: "3", Body: []byte(markedPayload), To: []string{"nobody"}},
		} {
			_, err := inbox.Add(t.Context(), e)
			errs = append(errs, err)
		}
		for _, header := range []http.Header{
			{"Authorization": {markedBearer}},
			{"Webhook-Id": {"1"}, "Webhook-Timestamp": {markedPayload}, "Webhook-Signature": {"v1," + markedBearer}},
			{"Webhook-Id": {"1"}, "Webhook-Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}, "Webhook-Signature": {"v1," + markedBearer}},
		} {
			_, err := v.Verify(t.Context(), &webhook.Request{Method: "POST", Header: header, Body: []byte(markedPayload)})
			errs = append(errs, err)
		}
		_, err = provider.StandardWebhooks("whsec_" + markedSecret)
		for _, err := range append(errs, err) {
			require.Error(t, err)
			answers.WriteString(err.Error())
		}
		end()
		require.NoError(t, <-ran)

		states := map[string]string{}
		for d, err := range inbox.Queue().Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			states[d.Destination] = string(d.State)
		}
		require.Equal(t, map[string]string{"panics": "dead", "decodes": "dead", "answers": "dead", "fine": "processed"}, states,
			"everything ran")
		emitted := s.emitted() + answers.String()
		for _, want := range []string{"webhook_received_events_total", "process panics", "webhook delivery dead", "panics with string", "order.paid"} {
			require.Contains(t, emitted, want, "it is not looked at")
		}
		for _, secret := range secrets {
			require.NotContains(t, emitted, secret)
		}
	})
}

// TestLeak_Outbound has marked values sent to an endpoint that is marked itself.
func TestLeak_Outbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		key := "whsec_" + base64.StdEncoding.EncodeToString([]byte(markedSecret))
		failing := func() (int, error) {
			return 0, &url.Error{Op: "Post", URL: "https://failing.example/" + markedBearer, Err: io.ErrUnexpectedEOF}
		}
		net := &network{answers: map[string]func() (int, error){"failing": failing}}
		endpoint := func(id string) webhook.Endpoint {
			return webhook.Endpoint{
				ID: id, URL: "https://" + id + ".example/" + markedBearer + "?token=" + markedCookie,
				Secrets: []webhook.Secret{{Value: key}}, Headers: http.Header{"Authorization": {"Bearer " + markedBearer}},
			}
		}
		out := s.dispatch(net, func(c *webhook.DispatcherConfig) {
			c.Endpoints = webhook.EndpointList{endpoint("fine"), endpoint("failing")}
			c.Propagate = true
		})
		ctx, caller := s.tracer.Start(t.Context(), "book an invoice")
		_, err := out.Send(ctx, webhook.Event{
			Type: "invoice.booked", Body: []byte(markedPayload), Headers: http.Header{"X-Shop": {markedCookie}},
		})
		require.NoError(t, err)
		_, err = out.Send(ctx, webhook.Event{ID: "a.b", Body: []byte(markedPayload)})
		require.Error(t, err)
		caller.End()
		pass(time.Hour)()
		emitted := s.emitted() + err.Error()
		for _, want := range []string{"send outbox", "process outbox", "webhook delivery dead", "webhook delivery processed", "invoice.booked"} {
			require.Contains(t, emitted, want, "it is not looked at")
		}
		secrets := []string{markedPayload, markedSecret, base64.StdEncoding.EncodeToString([]byte(markedSecret)), markedBearer, markedCookie}
		for _, header := range net.headers {
			require.Equal(t, "Bearer "+markedBearer, header.Get("Authorization"))
			_, mac, _ := strings.Cut(header.Get("Webhook-Signature"), ",")
			require.NotEmpty(t, mac)
			secrets = append(secrets, mac)
		}
		for _, secret := range secrets {
			require.NotContains(t, emitted, secret)
		}
	})
}

// emitted returns all metrics, spans and records as text.
func (s *service) emitted() string {
	s.t.Helper()
	var all strings.Builder
	families, err := s.registry.Gather()
	require.NoError(s.t, err)
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&all, f)
		require.NoError(s.t, err)
	}
	raw, err := json.Marshal(s.collect())
	require.NoError(s.t, err)
	all.Write(raw)
	raw, err = json.Marshal(s.spans.GetSpans())
	require.NoError(s.t, err)
	all.Write(raw)
	all.WriteString(s.logs.String())
	return all.String()
}
