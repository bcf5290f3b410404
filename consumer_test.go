package webhook_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// consumer is a service that imports the core.
const consumer = `package main

import (
	"context"
	"fmt"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store/memory"
)

func main() {
	inbox := webhook.Must(webhook.NewInbox(memory.New(), webhook.InboxConfig{}))
	verifier := webhook.Must(provider.StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	inbox.Handle("billing", func(context.Context, webhook.Event) error { return nil })
	fmt.Println(webhook.Verify("shop", verifier)(inbox.Receive("billing")))
}
`

// TestConsumer_GetsNoDriver builds a module that requires the core alone, and
// looks for databases and for OpenTelemetry's SDK in what it is made of: in its
// module graph, which a company's scanner reads, and in the program.
func TestConsumer_GetsNoDriver(t *testing.T) {
	checkout, err := os.Getwd()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(consumer), 0o600))
	goCommand(t, dir, "mod", "init", "example.com/consumer")
	goCommand(t, dir, "mod", "edit", "-require="+root+"@v0.0.0", "-replace="+root+"="+checkout)
	goCommand(t, dir, "mod", "tidy")
	goCommand(t, dir, "build", "-o", os.DevNull, ".")

	graph := strings.Fields(goCommand(t, dir, "list", "-m", "-f", "{{.Path}}", "all"))
	require.Contains(t, graph, root)
	for driver, backend := range drivers(t) {
		assert.NotContains(t, graph, driver, "whoever imports the core gets a dependency of %s", backend)
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	require.NoError(t, err)
	for driver, backend := range drivers(t) {
		assert.NotContains(t, string(sum), driver+" ", "whoever imports the core gets a dependency of %s", backend)
	}

	linked := strings.Fields(goCommand(t, dir, "list", "-deps", "."))
	require.Contains(t, linked, root)
	assert.NotContains(t, linked, "database/sql")
}

// drivers returns the modules that only others of this repository may require:
// each backend and its driver, OpenTelemetry's SDK and exporters.
func drivers(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, module := range modules(t) {
		if !strings.HasPrefix(module, "store/") && module != "observability" {
			continue
		}
		found[root+"/"+module] = module
		for _, r := range requirements(t, module) {
			// Of golang.org/x everybody has something, and testify brings its YAML.
			shared := strings.HasPrefix(r.Path+"/", root+"/") || slices.Contains(coreDependencies, r.Path) ||
				strings.HasPrefix(r.Path, "golang.org/x/") || r.Path == "go.yaml.in/yaml/v3"
			if !r.Indirect && !shared {
				found[r.Path] = module
			}
		}
	}
	require.Contains(t, found, "modernc.org/sqlite", "this test looks for nothing")
	require.Contains(t, found, "go.opentelemetry.io/otel/sdk", "this test looks for nothing")
	return found
}
