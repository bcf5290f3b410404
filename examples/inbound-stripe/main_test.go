package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

const (
	secret = "whsec_5f1c2b7d9a3e4f6081726354acbdfe01"
	forger = "whsec_00000000000000000000000000000000"
)

// envMain makes this test binary the program.
const envMain = "INBOUND_STRIPE_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestService_WithoutSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhooks.db")
	for _, given := range []string{"", "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "hunter2"} {
		out, err := command(t, file, given).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, string(out))
		require.Equal(t, 1, exit.ExitCode())
		require.Contains(t, string(out), "set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret, whsec_…")
		if given != "" {
			require.NotContains(t, string(out), given)
		}
		require.NoFileExists(t, file)
	}
}

func TestService_BooksOnceAndEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhooks.db")
	s := start(t, file)
	require.Equal(t, http.StatusOK, s.post(secret, "evt_1", "invoice.paid", 0))
	require.Equal(t, http.StatusOK, s.post(secret, "evt_1", "invoice.paid", 0), "a duplicate")
	require.Equal(t, http.StatusOK, s.post(secret, "evt_2", "customer.created", 0))
	require.Equal(t, http.StatusUnauthorized, s.post(forger, "evt_3", "invoice.paid", 0))
	require.Equal(t, http.StatusUnauthorized, s.post(secret, "evt_4", "invoice.paid", 6*time.Minute))
	s.waitFor("status=processed")
	require.NoError(t, s.end(syscall.SIGTERM), "a clean end")

	require.Equal(t, []string{"evt_1 cus_1 4200 eur"}, payments(t, file))
}

// Killed right after it answered, the service that is started on the same file
// books what is left, and nothing twice.
func TestService_Killed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhooks.db")
	s := start(t, file)
	var want []string
	for i := range 30 {
		id := fmt.Sprintf("evt_%02d", i)
		require.Equal(t, http.StatusOK, s.post(secret, id, "invoice.paid", 0))
		want = append(want, id+" cus_1 4200 eur")
	}
	require.Error(t, s.end(syscall.SIGKILL))

	s = start(t, file)
	require.Equal(t, http.StatusOK, s.post(secret, "evt_00", "invoice.paid", 0), "its sender did not see the answer")
	require.Eventually(t, func() bool { return len(payments(t, file)) >= len(want) }, 20*time.Second, 50*time.Millisecond)
	require.NoError(t, s.end(os.Interrupt))
	require.Equal(t, want, payments(t, file))
}

// A request that is under way when the service is stopped is answered, and what it
// brought is not lost.
func TestService_StoppedUnderWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhooks.db")
	s := start(t, file)
	req := s.request(secret, "evt_1", "invoice.paid", 0)
	conn, err := net.Dial("tcp", req.URL.Host)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	req.Header.Set("Expect", "100-continue")
	var wire bytes.Buffer
	require.NoError(t, req.Write(&wire))
	_, err = conn.Write(wire.Next(bytes.Index(wire.Bytes(), []byte("\r\n\r\n")) + 4))
	require.NoError(t, err)
	answer := bufio.NewReader(conn)
	res, err := http.ReadResponse(answer, req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusContinue, res.StatusCode, "the service waits for the body")

	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		another, err := net.Dial("tcp", req.URL.Host)
		if err == nil {
			another.Close()
		}
		return err != nil
	}, 10*time.Second, 10*time.Millisecond, "it goes on listening")
	_, err = conn.Write(wire.Bytes())
	require.NoError(t, err)
	res, err = http.ReadResponse(answer, req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	for s.log.Scan() { // to the end
	}
	require.NoError(t, s.cmd.Wait(), "a clean end")

	s = start(t, file)
	require.Eventually(t, func() bool { return len(payments(t, file)) == 1 }, 10*time.Second, 50*time.Millisecond)
	require.NoError(t, s.end(syscall.SIGTERM))
}

// A second process on the same file says who has it, and does not run.
func TestService_FileIsTaken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhooks.db")
	s := start(t, file)
	out, err := command(t, file, secret).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "store busy")
	require.Contains(t, string(out), filepath.Base(file))
	require.NoError(t, s.end(syscall.SIGTERM))
}

// service is the program, running.
type service struct {
	t   *testing.T
	cmd *exec.Cmd
	log *bufio.Scanner
	url string
}

func command(t *testing.T, file, secret string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, "-address", "127.0.0.1:0", "-file", file)
	cmd.Env = append(os.Environ(), envMain+"=1", "STRIPE_WEBHOOK_SECRET="+secret)
	return cmd
}

func start(t *testing.T, file string) *service {
	t.Helper()
	s := &service{t: t, cmd: command(t, file, secret)}
	stderr, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	s.log = bufio.NewScanner(stderr)
	_, s.url, _ = strings.Cut(s.waitFor("listening url="), "url=")
	return s
}

// waitFor returns the next line of the log that has text.
func (s *service) waitFor(text string) string {
	s.t.Helper()
	for s.log.Scan() {
		if strings.Contains(s.log.Text(), text) {
			return s.log.Text()
		}
	}
	require.Fail(s.t, "the log ended without "+text)
	return ""
}

// end sends the signal, and returns how the program ended.
func (s *service) end(signal os.Signal) error {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	require.NoError(s.t, s.cmd.Process.Signal(signal))
	for s.log.Scan() { // so that it can write on
	}
	return s.cmd.Wait()
}

// post sends an event as Stripe would have age ago, and returns the status.
func (s *service) post(secret, id, kind string, age time.Duration) int {
	s.t.Helper()
	res, err := http.DefaultClient.Do(s.request(secret, id, kind, age))
	require.NoError(s.t, err)
	require.NoError(s.t, res.Body.Close())
	return res.StatusCode
}

func (s *service) request(secret, id, kind string, age time.Duration) *http.Request {
	s.t.Helper()
	stripe, err := provider.Stripe(secret)
	require.NoError(s.t, err)
	target, err := url.Parse(s.url)
	require.NoError(s.t, err)
	body := fmt.Sprintf(`{"id":%q,"object":"event","created":1764000000,"type":%q,
		"data":{"object":{"customer":"cus_1","amount_paid":4200,"currency":"eur"}}}`, id, kind)
	signed := &webhook.Request{
		Method: http.MethodPost, URL: target, Header: http.Header{"Content-Type": {"application/json"}},
		Body: []byte(body), Time: time.Now().Add(-age), Secrets: []webhook.Secret{{Value: secret}},
	}
	require.NoError(s.t, stripe.Sign(signed, webhook.Event{}))
	req, err := http.NewRequest(signed.Method, s.url, strings.NewReader(body))
	require.NoError(s.t, err)
	req.Header = signed.Header
	return req
}

// payments reads the table, by event.
func payments(t *testing.T, file string) (all []string) {
	t.Helper()
	st, err := sqlite.Open(t.Context(), file, sqlite.Config{})
	require.NoError(t, err)
	defer st.Close()
	require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT event, customer, amount, currency FROM payments ORDER BY event`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var event, customer, currency string
			var amount int64
			if err := rows.Scan(&event, &customer, &amount, &currency); err != nil {
				return err
			}
			all = append(all, fmt.Sprint(event, " ", customer, " ", amount, " ", currency))
		}
		return rows.Err()
	}))
	return all
}
