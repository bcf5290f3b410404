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
//	func TestTellPaid(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			receiver := webhooktest.NewReceiver(t, webhooktest.Status(503), webhooktest.Hang(), webhooktest.Reset())
//			out := webhook.Must(webhook.NewDispatcher(memory.New(), webhook.DispatcherConfig{
//				Endpoints: webhook.EndpointList{{
//					ID: "ep_1", URL: "https://receiver.example/", Secrets: []webhook.Secret{{Value: secret}},
//				}},
//				Unguarded: func(webhook.Endpoint) http.RoundTripper { return receiver },
//			}))
//			if err := tellPaid(t.Context(), out, 7); err != nil { // your code that sends
//				t.Fatal(err)
//			}
//			webhooktest.Settle(t, out)                                              // the retries too
//			receiver.RequireOnce(t, webhook.Must(provider.StandardWebhooks(secret))) // signed, and accepted once
//		})
//	}
//
// A sender with a client of its own is tested in the same way:
// &http.Client{Transport: receiver}.
package webhooktest
