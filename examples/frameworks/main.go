// Frameworks mounts the library in chi, gin, echo and fiber, as a service that is
// written with one of them would: chi.go, gin.go, echo.go and fiber.go each have
// the same three routes, and comments at what differs from net/http.
//
//	/webhooks/shop              verified, stored, answered 200, then processed
//	/webhooks/tenants/{tenant}  the same, with a secret for each tenant
//	/orders                     verified, then handled by a handler of the framework
//
// All four are served at once:
//
//	SHOP_SECRET=whsec_… ACME_SECRET=whsec_… go run ./examples/frameworks
//
// A secret is "whsec_" and 24 to 64 bytes in base64, see standardwebhooks.com.
// Without one the program says so and ends with 1. Its test starts the servers and
// sends them what senders send, and what forgers do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gofiber/fiber/v3"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	port := flag.Int("port", 8081, "the first of four `ports`; 0: any that are free")
	flag.Parse()
	gin.SetMode(gin.ReleaseMode)
	err := run(ctx, *port)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "frameworks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, port int) error {
	s, err := newService(config{
		store:   memory.New(), // in a service: sqlite.Open
		secret:  os.Getenv("SHOP_SECRET"),
		tenants: map[string]string{"acme": os.Getenv("ACME_SECRET")},
		process: func(_ context.Context, e webhook.Event) error {
			slog.Info("order processed", "event", e.ID, "tenant", e.Tenant)
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("set SHOP_SECRET and ACME_SECRET: %w", err)
	}
	servers := s.servers()
	running, end := context.WithCancel(context.Background())
	defer end()
	drained, served := make(chan error, 1), make(chan error, len(servers))
	for i, srv := range servers {
		address := "localhost:0"
		if port != 0 {
			address = fmt.Sprintf("localhost:%d", port+i)
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		slog.Info("listening", "framework", srv.framework, "address", l.Addr().String())
		go func() { served <- srv.serve(l) }()
	}
	go func() { drained <- webhook.Run(running, s.inbox) }()

	select {
	case <-ctx.Done(): // Ctrl-C
	case err = <-served:
	case err = <-drained:
		drained <- nil
	}
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, srv := range servers {
		err = errors.Join(err, srv.shutdown(stopping)) // first no requests,
	}
	end() // then no attempts
	return errors.Join(err, <-drained)
}

// server is one framework's.
type server struct {
	framework string
	serve     func(net.Listener) error
	shutdown  func(context.Context) error
}

func (s *service) servers() []server {
	return []server{
		overHTTP("chi", chiRouter(s)),
		overHTTP("gin", ginEngine(s)),
		overHTTP("echo", echoRouter(s)),
		overFiber(fiberApp(s)),
	}
}

// overHTTP serves the frameworks that are an http.Handler.
func overHTTP(framework string, h http.Handler) server {
	// Verify bounds the time for a body; the headers are the server's.
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	serve := func(l net.Listener) error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	return server{framework, serve, srv.Shutdown}
}

func overFiber(app *fiber.App) server {
	serve := func(l net.Listener) error {
		return app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
	}
	return server{"fiber", serve, app.ShutdownWithContext}
}
