package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// receiveMain is the process of the endpoints, each on a port of its own. It
// prints their URLs, and for each line that it reads how many posts it has
// answered, until its input ends.
func receiveMain() error {
	var answered atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		answered.Add(1)
		w.WriteHeader(http.StatusOK)
	})
	for range endpoints {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = srv.Serve(l) }()
		fmt.Printf("http://%s%s ", l.Addr(), path)
	}
	fmt.Println()
	asked := bufio.NewScanner(os.Stdin)
	for asked.Scan() {
		fmt.Println(answered.Load())
	}
	return asked.Err()
}
