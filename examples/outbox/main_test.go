package main

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// envMain makes this test binary the program.
const envMain = "OUTBOX_MAIN"

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
	require.Equal(t, `order-1: placed
order-2: lamp: sold out; rolled back
order-3: placed
orders [order-1 order-3]
events [order-1 order-3]
subscriber has [order-1 order-3]
`, string(out))
}

// What is rolled back has left nothing, and may be placed later.
func TestPlace_RolledBack(t *testing.T) {
	sub, s := opened(t, filepath.Join(t.TempDir(), "shop.db"))
	require.ErrorIs(t, s.place(t.Context(), order{"order-1", "lamp", 6}), errSoldOut)
	orders, err := s.orders(t.Context())
	require.NoError(t, err)
	require.Empty(t, orders)
	n, err := s.out.Queue().Count(t.Context(), store.Filter{}, 10)
	require.NoError(t, err)
	require.Zero(t, n)

	require.NoError(t, s.place(t.Context(), order{"order-1", "lamp", 5}))
	stop := started(t, s)
	require.NoError(t, settled(t.Context(), s.out.Queue()))
	require.NoError(t, stop())
	require.Equal(t, []string{"order-1"}, sub.got())
}

// What was committed is sent by the process that runs next on the file.
func TestPlace_SentByTheNextProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shop.db")
	sub, s := opened(t, file)
	require.NoError(t, s.place(t.Context(), order{"order-1", "lamp", 1}))
	require.NoError(t, s.st.Close())
	require.Empty(t, sub.got(), "nothing ran")

	s, err := open(t.Context(), file, sub.endpoint)
	require.NoError(t, err)
	defer s.st.Close()
	stop := started(t, s)
	require.NoError(t, settled(t.Context(), s.out.Queue()))
	require.NoError(t, stop())
	require.Equal(t, []string{"order-1"}, sub.got())
}

// The program claims nothing that it does not look at.
func TestAccount_SeesWhatIsOtherwise(t *testing.T) {
	for name, change := range map[string]func(s *shop, sub *subscriber) error{
		"an order without its event": func(s *shop, _ *subscriber) error {
			return s.st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO orders VALUES ('order-2', 'lamp', 1)`)
				return err
			})
		},
		"an event without its order": func(s *shop, _ *subscriber) error {
			_, err := s.out.Send(t.Context(), webhook.Event{Subject: "order-2", Body: []byte(`{"data":{"id":"order-2"}}`)})
			return err
		},
		"a subscriber that was told twice": func(_ *shop, sub *subscriber) error {
			sub.orders = append(sub.orders, "order-1")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			sub, s := opened(t, filepath.Join(t.TempDir(), "shop.db"))
			stop := started(t, s)
			require.NoError(t, s.trade(t.Context(), t.Output()))
			require.NoError(t, s.account(t.Context(), t.Output(), sub))
			require.NoError(t, change(s, sub))
			require.NoError(t, settled(t.Context(), s.out.Queue()))
			require.NoError(t, stop())
			require.Error(t, s.account(t.Context(), t.Output(), sub))
		})
	}
}

// opened is a shop with its subscriber. Nothing is sent before started.
func opened(t *testing.T, file string) (*subscriber, *shop) {
	t.Helper()
	sub, err := subscribe(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { sub.srv.Close() })
	s, err := open(t.Context(), file, sub.endpoint)
	require.NoError(t, err)
	t.Cleanup(func() { s.st.Close() })
	return sub, s
}

// started runs the shop's dispatcher until stop.
func started(t *testing.T, s *shop) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- webhook.Run(ctx, s.out) }()
	return func() error {
		cancel()
		return <-ended
	}
}
