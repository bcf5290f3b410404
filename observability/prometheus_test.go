package observability

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// debian returns the path of a program of Debian's package prometheus. Where it is
// not installed the test is skipped, and fails in continuous integration, whose
// script installs it.
func debian(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed: apt-get install prometheus", program)
	}
	t.Skipf("SKIPPED, NOTHING WAS CHECKED: %s is not installed: apt-get install prometheus", program)
	return ""
}

// Each alert fires when it is to, and not otherwise.
func TestAlerts_Fire(t *testing.T) {
	promtool := debian(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "prometheus-alerts.yml"},
		{"test", "rules", "prometheus-alerts_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "../docs"
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "promtool %s: %s", strings.Join(args, " "), out)
	}
}

// Every query of the dashboard returns data from a real Prometheus that scrapes
// the quickstart, and every alert can be evaluated there.
func TestPrometheus_AnswersEveryQuery(t *testing.T) {
	p := runPrometheus(t, debian(t, "prometheus"), quickstart(t).addr)
	variables := strings.NewReplacer("$__rate_interval", "5s", "$queue", ".*", "$source", ".*")
	for _, panel := range readDashboard(t).Panels {
		for _, q := range panel.Targets {
			expr := variables.Replace(q.Expr)
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				values, err := p.query(t.Context(), expr)
				assert.NoError(c, err)
				assert.NotEmpty(c, values, "no data")
			}, 30*time.Second, 100*time.Millisecond, "%s: %s", panel.Title, expr)
		}
	}
	// What the traffic is made of can be read off them.
	for _, x := range []struct {
		what, query string
		least, most float64
	}{
		{"error ratio of audit", `sum(rate(messaging_client_consumed_messages_total{messaging_destination_name="audit",error_type!=""}[5s])) or vector(0)`, 0, 0},
		{"error ratio of crm", `sum(rate(messaging_client_consumed_messages_total{messaging_destination_name="crm",error_type!=""}[5s])) / sum(rate(messaging_client_consumed_messages_total{messaging_destination_name="crm"}[5s]))`, 1, 1},
		{"dead letters of crm", `sum(rate(webhook_dead_letters_total{messaging_destination_name="crm"}[5s])) / sum(rate(messaging_client_consumed_messages_total{messaging_destination_name="crm"}[5s]))`, .25, .42},
		{"share of forgeries", `sum(rate(webhook_received_events_total{webhook_source="stripe",error_type="signature"}[5s])) / sum(rate(webhook_received_events_total{webhook_source="stripe"}[5s]))`, .2, .3},
		{"share of posts that are answered 410", `sum(rate(messaging_client_consumed_messages_total{webhook_queue="outbox",error_type="http_4xx"}[5s])) / sum(rate(messaging_client_consumed_messages_total{webhook_queue="outbox"}[5s]))`, .25, .42},
		{"endpoints that are disabled", `max(max_over_time(webhook_hold_count{webhook_queue="outbox",webhook_hold_kind="disabled"}[5s]))`, 1, 1},
		{"median from Send to processed", `histogram_quantile(0.5, sum by (le) (rate(webhook_delivery_duration_seconds_bucket{webhook_queue="outbox"}[5s])))`, 0, .5},
	} {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			values, err := p.query(t.Context(), x.query)
			require.NoError(c, err)
			require.Len(c, values, 1)
			require.GreaterOrEqual(c, values[0], x.least)
			require.LessOrEqual(c, values[0], x.most)
		}, 30*time.Second, 100*time.Millisecond, x.what)
	}
	p.requireHealthyRules(t)
}

// server is a Prometheus that runs.
type server struct{ url string }

// runPrometheus starts a Prometheus that scrapes target four times a second, until
// the test ends.
func runPrometheus(t *testing.T, program, target string) *server {
	t.Helper()
	dir := t.TempDir()
	alerts, err := filepath.Abs("../docs/prometheus-alerts.yml")
	require.NoError(t, err)
	config := fmt.Sprintf(`
global: {scrape_interval: 250ms, evaluation_interval: 250ms}
rule_files: [%q]
scrape_configs: [{job_name: webhook, static_configs: [{targets: [%q]}]}]
`, alerts, target)
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	addr := freePort(t)
	var out lockedBuffer
	cmd := exec.CommandContext(context.Background(), program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("prometheus said: %s", out.String())
		}
	})
	s := &server{url: "http://" + addr}
	require.Eventually(t, func() bool {
		values, err := s.query(t.Context(), "up == 1")
		return err == nil && len(values) == 1
	}, 30*time.Second, 50*time.Millisecond, "prometheus does not scrape")
	return s
}

// freePort returns an address that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// get decodes the data of an answer of the API:
// https://prometheus.io/docs/prometheus/latest/querying/api/
func (s *server) get(ctx context.Context, path string, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

// query returns the values of an instant query that are numbers.
func (s *server) query(ctx context.Context, expr string) ([]float64, error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := s.get(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	var values []float64
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values, nil
}

// requireHealthyRules waits until each alert was evaluated without an error.
func (s *server) requireHealthyRules(t *testing.T) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		require.NoError(c, s.get(t.Context(), "/api/v1/rules", &data))
		healthy := 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				require.Equal(c, "ok", r.Health, "%s: %s", r.Name, r.LastError)
				healthy++
			}
		}
		require.Equal(c, len(readAlerts(t)), healthy)
	}, 30*time.Second, 100*time.Millisecond)
}
