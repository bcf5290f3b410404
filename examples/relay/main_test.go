package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
)

// envMain makes this test binary the program.
const envMain = "RELAY_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestProgram(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), envMain+"=1")
	out, err := cmd.Output()
	require.NoError(t, err, "the exit code")
	require.Equal(t, `shop sends msg_1: 200
shop sends msg_3, forged: 401
shop sends msg_1, once more: 200
shop sends msg_2: 200
came in        order.paid msg_1: processed; order.paid msg_2: failed, processed
booked         msg_1 4200; msg_2 1700
went out       payment.booked msg_1: processed; payment.booked msg_2: processed
subscriber has msg_1 4200; msg_2 1700
`, string(out))
}

// As long as the work fails at its end, nothing is booked and nothing goes out.
func TestBook_AllOrNothing(t *testing.T) {
	p := play(t)
	p.trouble = func(context.Context, webhook.Event) error { return webhook.Permanent(errors.New("no")) }
	p.send("msg_1", `{"type":"order.paid","data":{"amount":1}}`)
	bookings, err := p.bookings(t.Context())
	require.NoError(t, err)
	require.Empty(t, bookings)
	went, err := became(t.Context(), p.out.Queue())
	require.NoError(t, err)
	require.Empty(t, went)
	require.Empty(t, p.sub.got())
}

// The program claims nothing that it does not look at.
func TestAccount_SeesWhatIsOtherwise(t *testing.T) {
	for name, change := range map[string]func(p *scene){
		"nothing failed":      func(p *scene) { p.trouble = func(context.Context, webhook.Event) error { return nil } },
		"one more was sent":   func(p *scene) { p.send("msg_3", `{"type":"order.paid","data":{"amount":1}}`) },
		"another amount":      func(p *scene) { p.send("msg_1", `{"type":"order.paid","data":{"amount":1}}`) },
		"subscriber has more": func(p *scene) { p.sub.seen = append(p.sub.seen, "msg_1 4200") },
	} {
		t.Run(name, func(t *testing.T) {
			p := play(t)
			p.trouble = onFirstAttempt
			change(p)
			require.NoError(t, p.from.sell(t.Context(), t.Output(), p.url))
			require.NoError(t, settled(t.Context(), p.inbox.Queue(), p.out.Queue()))
			require.Error(t, p.account(t.Context(), t.Output(), p.sub))
		})
	}
}

// scene is a relay that runs, between a shop and a subscriber.
type scene struct {
	*relay
	t    *testing.T
	from *shop
	sub  *subscriber
	url  string
}

func play(t *testing.T) *scene {
	t.Helper()
	p := &scene{t: t, from: &shop{signature.NewSecret()}, sub: &subscriber{secret: signature.NewSecret()}}
	subSrv, subURL, err := serve(t.Context(), p.sub.handler())
	require.NoError(t, err)
	t.Cleanup(func() { subSrv.Close() })
	p.relay, err = open(t.Context(), filepath.Join(t.TempDir(), "relay.db"), webhook.Endpoint{
		ID: "subscriber", URL: subURL, Secrets: []webhook.Secret{{Value: p.sub.secret}},
	})
	require.NoError(t, err)
	h, err := p.handler(p.from.secret)
	require.NoError(t, err)
	srv, url, err := serve(t.Context(), h)
	require.NoError(t, err)
	p.url = url

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- webhook.Run(ctx, p.inbox, p.out) }()
	t.Cleanup(func() {
		srv.Close()
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, p.st.Close())
	})
	return p
}

// send sends an event as the shop, and waits until all is done.
func (p *scene) send(id, body string) {
	p.t.Helper()
	status, err := post(p.t.Context(), p.url, p.from.secret, id, body)
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusOK, status)
	require.NoError(p.t, settled(p.t.Context(), p.inbox.Queue(), p.out.Queue()))
}
