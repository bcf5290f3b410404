package observability

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// dashboard is what is looked at of docs/grafana-dashboard.json, by
// https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
type dashboard struct {
	UID           string
	Title         string
	SchemaVersion int
	ID            *int // Grafana gives it
	Refresh       string
	Time          struct{ From, To string }
	Templating    struct{ List []variable }
	Panels        []panel
}

type variable struct {
	Name, Type string
	Query      json.RawMessage
	Datasource *source
	Definition string
}

type source struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *source
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []target
}

type target struct {
	RefID, Expr, LegendFormat string
	Datasource                *source
}

func readDashboard(t testing.TB) dashboard {
	t.Helper()
	raw, err := os.ReadFile("../docs/grafana-dashboard.json")
	require.NoError(t, err)
	require.True(t, json.Valid(raw))
	var d dashboard
	require.NoError(t, json.NewDecoder(bytes.NewReader(raw)).Decode(&d))
	return d
}

// The dashboard can be imported, and is laid out without overlaps.
func TestDashboard_Structure(t *testing.T) {
	d := readDashboard(t)
	require.Equal(t, "surehook-webhook", d.UID)
	require.NotEmpty(t, d.Title)
	require.Nil(t, d.ID)
	require.GreaterOrEqual(t, d.SchemaVersion, 36) // Grafana 9, the first that has data sources as objects only
	require.Equal(t, "now", d.Time.To)

	own := source{Type: "prometheus", UID: "${datasource}"}
	names := map[string]string{}
	for _, v := range d.Templating.List {
		names[v.Name] = v.Type
		if v.Type == "query" {
			require.Equal(t, &own, v.Datasource)
		}
	}
	require.Equal(t, map[string]string{"datasource": "datasource", "queue": "query", "source": "query"}, names)

	ids, titles := map[int]bool{}, map[string]bool{}
	var grid [200][24]bool
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "panel id %d", p.ID)
		require.False(t, titles[p.Title], "title %q", p.Title)
		ids[p.ID], titles[p.Title] = true, true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				require.False(t, grid[y][x], "%q lies on another", p.Title)
				grid[y][x] = true
			}
		}
		if p.Type == "row" {
			continue
		}
		require.Equal(t, &own, p.Datasource, p.Title)
		require.NotEmpty(t, p.Description, p.Title)
		require.NotEmpty(t, p.FieldConfig.Defaults.Unit, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
		for _, q := range p.Targets {
			require.Equal(t, &own, q.Datasource, p.Title)
			require.NotEmpty(t, q.RefID, p.Title)
			require.NotEmpty(t, q.LegendFormat, p.Title)
		}
	}
}

// Every metric that a panel or an alert names is one that the quickstart emits, and every
// one that is emitted is on the dashboard, but for the one that has a histogram
// beside it.
func TestDashboard_NamesWhatIsEmitted(t *testing.T) {
	emitted := exported(t)
	shown := map[string]bool{}
	for _, p := range readDashboard(t).Panels {
		for _, q := range p.Targets {
			names := metricNames(q.Expr)
			require.NotEmpty(t, names, "%s: %s", p.Title, q.Expr)
			for _, name := range names {
				require.Contains(t, emitted, name, p.Title)
				shown[emitted[name]] = true
			}
		}
	}
	for _, v := range readDashboard(t).Templating.List {
		if v.Type == "query" {
			definition, _, _ := strings.Cut(v.Definition, ",")
			metric := strings.TrimPrefix(definition, "label_values(")
			require.Contains(t, emitted, metric, v.Name)
		}
	}
	for _, family := range emitted {
		require.True(t, shown[family], "%s is on no panel", family)
	}
	for _, a := range readAlerts(t) {
		names := metricNames(a.Expr)
		require.NotEmpty(t, names, a.Alert)
		for _, name := range names {
			require.Contains(t, emitted, name, a.Alert)
		}
	}
}

// exported returns the names under which Prometheus knows the metrics that the
// quickstart emits, with what each belongs to.
func exported(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, family := range quickstart(t).scraped(t) {
		if family.GetType() != dto.MetricType_HISTOGRAM {
			all[name] = name
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			all[name+suffix] = name
		}
	}
	return all
}

// metricNames returns the names of metrics in a query: what is no label, no text,
// no function and no word of the language.
func metricNames(query string) []string {
	query = promQLText.ReplaceAllString(query, " ")
	query = promQLLabels.ReplaceAllString(query, " ")
	query = promQLBy.ReplaceAllString(query, " ")
	var names []string
	for _, m := range promQLName.FindAllStringSubmatch(query, -1) {
		if name := m[1]; m[2] != "(" && !slices.Contains(promQLWords, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// The parts of PromQL that are no names of metrics:
// https://prometheus.io/docs/prometheus/latest/querying/basics/
var (
	promQLText   = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	promQLLabels = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	promQLBy     = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	promQLName   = regexp.MustCompile(`\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\(?)`)
	promQLWords  = []string{"and", "or", "unless", "sum", "max", "min", "count", "avg", "offset", "bool", "s", "m", "h", "d", "w"}
)

func TestMetricNames(t *testing.T) {
	for query, want := range map[string][]string{
		`sum by (a, b) (rate(x_total{b="y_total", c!~"z{"}[5m]))`:       {"x_total"},
		`max(x) by (a) - (max(y offset 15m) or x * 0) > 1e3`:            {"x", "y"},
		`sum(rate(x[$__rate_interval])) / on (d) group_left () sum (y)`: {"x", "y"},
	} {
		require.Equal(t, want, metricNames(query), query)
	}
}

// alert is a rule of docs/prometheus-alerts.yml.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readAlerts(t testing.TB) []alert {
	t.Helper()
	raw, err := os.ReadFile("../docs/prometheus-alerts.yml")
	require.NoError(t, err)
	var file struct{ Groups []struct{ Rules []alert } }
	require.NoError(t, yaml.Unmarshal(raw, &file))
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// Each alert says what is wrong and what to do, is on both pages, and has a test in
// which it fires and one in which it does not.
func TestAlerts_Complete(t *testing.T) {
	raw, err := os.ReadFile("../docs/prometheus-alerts_test.yml")
	require.NoError(t, err)
	var file struct {
		Tests []struct {
			Rules []struct {
				Alert string `yaml:"alertname"`
				Want  []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &file))
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, r := range test.Rules {
			fires[r.Alert] = fires[r.Alert] || len(r.Want) > 0
			silent[r.Alert] = silent[r.Alert] || len(r.Want) == 0
		}
	}
	var named, page []string
	for _, a := range readAlerts(t) {
		named = append(named, a.Alert)
		require.Contains(t, []string{"info", "warning", "critical"}, a.Labels["severity"], a.Alert)
		require.NotEmpty(t, a.Annotations["summary"], a.Alert)
		require.NotEmpty(t, a.Annotations["description"], a.Alert)
		require.True(t, fires[a.Alert], "no test in which %s fires", a.Alert)
		require.True(t, silent[a.Alert], "no test in which %s does not fire", a.Alert)
	}
	for _, row := range tables(t, "alert") {
		page = append(page, quoted(row[0])[0])
	}
	require.Equal(t, named, page)

	operations, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(operations), "## When an alert fires")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	var explained []string
	for _, name := range quoted(section) {
		if strings.HasPrefix(name, "Webhook") {
			explained = append(explained, name)
		}
	}
	require.ElementsMatch(t, named, explained, "docs/operations.md says of each what to do")
}
