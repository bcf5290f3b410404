// Package webhooktest tests programs that receive and send webhooks, without the
// senders, the receivers and the hours that retries take.
//
// A handler is tested with requests that are signed as the sender signs them
// ([Request]), behind the routes of the program itself, and with the engine in the
// fake time of testing/synctest ([Settle]):
//
//	func TestBilling(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			stripe := webhook.Must(provider.Stripe("whsec_test"))
//			inbox := webhook.Must(webhook.NewInbox(memory.New(), webhook.InboxConfig{}))
//			inbox.Handle("billing", bill)
//			route := webhook.Verify("stripe", stripe)(inbox.Receive("billing"))
//
//			body := []byte(`{"id":"evt_1","type":"invoice.paid"}`)
//			w := httptest.NewRecorder()
//			route.ServeHTTP(w, webhooktest.Request(t, stripe, "/stripe", webhook.Event{Body: body}))
//			if w.Code != 200 {
//				t.Fatalf("answered %d", w.Code)
//			}
//			webhooktest.Settle(t, inbox)
//			n, err := inbox.Queue().Count(t.Context(), store.Filter{States: []store.State{store.Processed}}, 2)
//			if n != 1 || err != nil {
//				t.Errorf("processed %d, want 1 (%v)", n, err)
//			}
//		})
//	}
//
// A sender is tested against a [Receiver], which fails as its script says, and
// records what came:
//
//	receiver := webhooktest.NewReceiver(t, webhooktest.Status(503), webhooktest.Hang(), webhooktest.Reset())
//	client := &http.Client{Transport: receiver, Timeout: 15 * time.Second} // hangs in fake time
//	…
//	receiver.RequireOnce(t, verifier) // signed, and accepted once
package webhooktest
