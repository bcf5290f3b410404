package observability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// program is examples/quickstart, built as it is but for a file more, which gives
// it the SDK of OpenTelemetry and serves its metrics. It has told its tale, and
// goes on sending.
type program struct {
	addr  string // of /metrics and /instruments
	cmd   *exec.Cmd
	out   *lockedBuffer
	dir   string
	ended chan error
}

// patience is how long it is waited for whatever a program is to do.
const patience = time.Minute

// quickstart starts the program once for all tests. TestMain ends it.
func quickstart(t testing.TB) *program {
	t.Helper()
	started.Do(func() { running, errStart = startQuickstart() })
	require.NoError(t, errStart)
	return running
}

var (
	started  sync.Once
	running  *program
	errStart error
)

// The program ends with 0 when it is interrupted: all was as promised.
func TestMain(m *testing.M) {
	code := m.Run()
	if running != nil {
		if err := running.stop(); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: the quickstart ended with %v:\n%s\n", err, running.out)
			code = 1
		}
	}
	os.Exit(code)
}

func startQuickstart() (*program, error) {
	dir, err := os.MkdirTemp("", "webhook-observability-")
	if err != nil {
		return nil, err
	}
	p := &program{dir: dir, out: &lockedBuffer{}, ended: make(chan error, 1)}
	if err := p.build(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	at := filepath.Join(dir, "address")
	p.cmd = exec.CommandContext(context.Background(), filepath.Join(dir, "quickstart"), "-for", "10m")
	p.cmd.Env = append(os.Environ(), "QUICKSTART_METRICS="+at, "TMPDIR="+dir)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() { p.ended <- p.cmd.Wait() }()
	for deadline := time.After(patience); !strings.Contains(p.out.String(), "Going on"); {
		select {
		case err := <-p.ended:
			return nil, errors.Join(fmt.Errorf("the quickstart ended with %w:\n%s", err, p.out), os.RemoveAll(dir))
		case <-deadline:
			return nil, errors.Join(fmt.Errorf("the quickstart hangs:\n%s", p.out), p.cmd.Process.Kill(), <-p.ended, os.RemoveAll(dir))
		case <-time.After(20 * time.Millisecond):
		}
	}
	addr, err := os.ReadFile(at)
	p.addr = string(addr)
	return p, err
}

// build builds it here, where the SDK is, with the file laid over its folder.
func (p *program) build() error {
	file, err := filepath.Abs("testdata/quickstart/metrics.go")
	if err != nil {
		return err
	}
	place, err := filepath.Abs("../examples/quickstart/metrics.go")
	if err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {place: file}})
	if err != nil {
		return err
	}
	name := filepath.Join(p.dir, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), "go", "build", "-overlay", name, "-o", p.dir,
		"github.com/surehook/webhook/examples/quickstart")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the quickstart: %w:\n%s", err, out)
	}
	return nil
}

// stop interrupts the program, as a person would, and returns what is wrong with
// its end.
func (p *program) stop() error {
	err := p.cmd.Process.Signal(os.Interrupt)
	select {
	case end := <-p.ended:
		err = errors.Join(err, end)
	case <-time.After(patience):
		err = errors.Join(err, errors.New("it does not end"), p.cmd.Process.Kill())
	}
	left, globErr := filepath.Glob(filepath.Join(p.dir, "webhook-quickstart-*"))
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("it left %v behind", left))
	}
	return errors.Join(err, globErr, os.RemoveAll(p.dir))
}

// get returns what the program serves under path.
func (p *program) get(t testing.TB, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.addr+path, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
	return body
}

// instrument is one by which the program has measured.
type instrument struct {
	Name, Kind, Unit string
	Attributes       map[string][]string // with their values
}

func (p *program) instruments(t testing.TB) (all []instrument) {
	t.Helper()
	require.NoError(t, json.Unmarshal(p.get(t, "/instruments"), &all))
	return all
}

// scraped returns the metrics that Prometheus gets, by their names.
func (p *program) scraped(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(p.get(t, "/metrics"))))
	require.NoError(t, err)
	delete(families, "target_info") // the SDK's own, of the program
	return families
}

// Every metric that the page names is emitted by the quickstart as the page says,
// and no other.
func TestMetrics_AsThePageSays(t *testing.T) {
	want := pageMetrics(t)
	p := quickstart(t)
	got := map[string]documented{}
	for _, i := range p.instruments(t) {
		got[i.Name] = documented{
			prometheus: want[i.Name].prometheus, kind: i.Kind, unit: i.Unit, attributes: slices.Sorted(maps.Keys(i.Attributes)),
		}
	}
	require.Equal(t, want, got)

	var named []string
	for _, d := range want {
		named = append(named, d.prometheus)
	}
	require.ElementsMatch(t, named, slices.Collect(maps.Keys(p.scraped(t))))
}

// Endpoints are customers': there may be any number, and none is in a metric.
func TestMetrics_HaveNoEndpoints(t *testing.T) {
	p := quickstart(t)
	require.Contains(t, p.out.String(), "steady", "it is sent to no such subscriber: this test looks at nothing")
	outbound := 0
	for line := range strings.Lines(string(p.get(t, "/metrics"))) {
		for _, foreign := range []string{"steady", "busy", "gone", "http://", "127.0.0.1"} {
			require.NotContains(t, line, foreign)
		}
		if strings.Contains(line, `webhook_queue="outbox"`) {
			require.NotContains(t, line, "messaging_destination_name")
			outbound++
		}
	}
	require.Greater(t, outbound, 100)
}
