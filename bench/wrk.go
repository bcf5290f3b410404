package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed wrk.lua
var script []byte

// The parts of a request that differ; wrk.lua puts them in.
const (
	placeID        = "{id}"
	placeTime      = "{time}"
	placeSignature = "{signature}"
)

// load is a set of signed requests, and the script that sends them.
type load struct {
	script, template, signed string
}

// result is what wrk saw in one round; times are in microseconds.
type result struct {
	Requests  int
	Duration  int64
	P50, P99  int64
	Non2xx    int
	Connect   int
	Read      int
	Write     int
	Timeout   int
	PerSecond float64 `json:"-"`
}

// newLoad signs n requests, each with an id of its own that its body holds too,
// and the time of now: they are stale in five minutes.
func newLoad(dir string, n int) (load, error) {
	l := load{
		script:   filepath.Join(dir, "wrk.lua"),
		template: filepath.Join(dir, "request"),
		signed:   filepath.Join(dir, "signed"),
	}
	head, tail := `{"type":"invoice.paid","id":"`, `","data":"`
	id := func(i int) string { return fmt.Sprintf("msg_%016x", i) }
	filler := strings.Repeat("x", bodySize-len(head)-len(id(0))-len(tail)-len(`"}`))
	before, after := head, tail+filler+`"}`

	request := "POST " + path + " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n" +
		"Content-Length: " + strconv.Itoa(bodySize) + "\r\n" +
		"webhook-id: " + placeID + "\r\nwebhook-timestamp: " + placeTime + "\r\nwebhook-signature: v1," + placeSignature + "\r\n\r\n" +
		before + placeID + after
	if err := os.WriteFile(l.script, script, 0o600); err != nil {
		return l, err
	}
	if err := os.WriteFile(l.template, []byte(request), 0o600); err != nil {
		return l, err
	}
	f, err := os.Create(l.signed)
	if err != nil {
		return l, err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	for i := range n {
		body := before + id(i) + after
		signature := base64.StdEncoding.EncodeToString(sign(id(i), stamp, []byte(body)))
		fmt.Fprintf(w, "%s%s%s", id(i), stamp, signature)
	}
	if err := w.Flush(); err != nil {
		return l, err
	}
	// So that the disk is idle when the round begins.
	return l, f.Sync()
}

// runWrk sends l to url for window.
func runWrk(ctx context.Context, l load, url string, window time.Duration) (result, error) {
	var r result
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(int(window.Seconds()))+"s",
		"-s", l.script, url, "--", l.signed, l.template)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("wrk: %w: %s", err, out)
	}
	i := bytes.LastIndex(out, []byte("\n{"))
	if i < 0 {
		return r, fmt.Errorf("wrk gave no result: %s", out)
	}
	if err := json.Unmarshal(out[i:], &r); err != nil {
		return r, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if r.Non2xx+r.Connect+r.Read+r.Write+r.Timeout > 0 {
		return r, fmt.Errorf("wrk: not every request was answered 2xx: %+v", r)
	}
	r.PerSecond = float64(r.Requests) / (float64(r.Duration) / 1e6)
	return r, nil
}
