package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/signature"
)

// envMain makes this test binary the program.
const envMain = "OUTBOUND_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const told = `order-7-paid: 2 deliveries
  steady  processed: processed
  flaky   processed: failed, failed, processed
order-7-paid once more: duplicate true
order-7-refunded, while flaky is down
  steady  processed: processed
  flaky   dead: failed, failed, failed
          failed 3 times: webhook: the answer is 500 Internal Server Error
flaky is up, redriven: 1
  steady  processed: processed
  flaky   processed: failed, failed, failed, processed
`

func TestProgram(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), envMain+"=1")
	out, err := cmd.Output()
	require.NoError(t, err, "the exit code")
	require.Equal(t, told, string(out))
}

// The program claims nothing that it does not look at.
func TestRun_SeesWhatIsOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		change func(steady, flaky *subscriber)
		says   string
	}{
		"steady is not steady":     {func(steady, _ *subscriber) { steady.refuses = 1 }, "order-7-paid for steady"},
		"steady is down":           {func(steady, _ *subscriber) { steady.down.Store(true) }, "order-7-paid for steady"},
		"flaky is not flaky":       {func(_, flaky *subscriber) { flaky.refuses = 0 }, "order-7-paid for flaky"},
		"flaky stays down":         {func(_, flaky *subscriber) { flaky.refuses = 100 }, "order-7-paid for flaky"},
		"signed with another":      {func(_, flaky *subscriber) { flaky.signedWith = signature.NewSecret() }, "order-7-paid for flaky"},
		"flaky has seen something": {func(_, flaky *subscriber) { flaky.seen["another"] = 1 }, "flaky has seen"},
	} {
		t.Run(name, func(t *testing.T) {
			steady, flaky := newSubscriber("steady", 0), newSubscriber("flaky", 2)
			c.change(steady, flaky)
			var w bytes.Buffer
			require.ErrorContains(t, run(t.Context(), &w, steady, flaky), c.says, w.String())
		})
	}
}
