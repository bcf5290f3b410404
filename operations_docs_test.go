package webhook_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocs_EveryRecordIsExplained: the page for the person on call has each record
// that this module logs, and none that it does not.
func TestDocs_EveryRecordIsExplained(t *testing.T) {
	logged := loggedMessages(t)
	require.Greater(t, len(logged), 15, "too few messages found: this test looks at nothing")
	page, err := os.ReadFile("docs/operations.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(page), "## What the log says")
	table, _, _ = strings.Cut(table, "\n## ")
	var explained []string
	for row := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for _, m := range regexp.MustCompile("`(webhooks? [^`]+)`").FindAllStringSubmatch(cell, -1) {
			explained = append(explained, m[1])
		}
	}
	for _, m := range logged {
		// A row may leave out what a message says after a colon.
		short, _, _ := strings.Cut(m, ":")
		require.True(t, slices.Contains(explained, m) || slices.Contains(explained, short), "docs/operations.md does not explain %q", m)
	}
	for _, e := range explained {
		require.True(t, slices.ContainsFunc(logged, func(m string) bool { return m == e || strings.HasPrefix(m, e+":") }), "nobody logs %q", e)
	}
}

// TestDocs_StatementsAreRun: the statements of the page for the person on call are
// those that are run against a file, where the driver is.
func TestDocs_StatementsAreRun(t *testing.T) {
	page, err := os.ReadFile("docs/operations.md")
	require.NoError(t, err)
	run, err := os.ReadFile("store/sqlite/endtoend/testdata/operations.sql")
	require.NoError(t, err)
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		blocks = append(blocks, m[1])
	}
	require.Equal(t, string(run), strings.Join(blocks, "\n"), "docs/operations.md on the right: copy its statements into the file")
}

// loggedMessages returns what is logged by the module's code: the texts that begin
// with its name, as arguments of a method of slog, or as values of a table of
// messages.
func loggedMessages(t *testing.T) (messages []string) {
	t.Helper()
	note := func(e ast.Expr) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return
		}
		text, err := strconv.Unquote(lit.Value)
		require.NoError(t, err)
		if regexp.MustCompile(`^webhooks? `).MatchString(text) {
			messages = append(messages, text)
		}
	}
	for _, dir := range []string{".", "internal"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && dir == "." && path != ".":
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if s, ok := n.Fun.(*ast.SelectorExpr); ok && isLogMethod(s) {
						for _, arg := range n.Args {
							note(arg)
						}
					}
				case *ast.KeyValueExpr:
					note(n.Value)
				}
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
	return messages
}

func isLogMethod(s *ast.SelectorExpr) bool {
	if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "http" { // http.Error
		return false
	}
	switch strings.TrimSuffix(s.Sel.Name, "Context") {
	case "Debug", "Info", "Warn", "Error", "Log", "LogAttrs":
		return true
	}
	return false
}
