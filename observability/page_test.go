package observability

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documented is what the page says of a metric.
type documented struct {
	prometheus, kind, unit string
	attributes             []string // sorted
}

// tables returns the rows of docs/observability.md that follow a header which
// begins with the cell first.
func tables(t testing.TB, first string) [][]string {
	t.Helper()
	page, err := os.ReadFile("../docs/observability.md")
	require.NoError(t, err)
	var rows [][]string
	in := false
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			in = false
		case cells[0] == first:
			in = true
		case in && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	require.NotEmpty(t, rows, "no table that begins with %q", first)
	return rows
}

var code = regexp.MustCompile("`([^`]+)`")

// quoted returns what stands in backquotes.
func quoted(cell string) []string {
	var all []string
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	return all
}

// pageMetrics returns the metrics of the page by their names.
func pageMetrics(t testing.TB) map[string]documented {
	t.Helper()
	all := map[string]documented{}
	var before []string
	for _, row := range tables(t, "metric") {
		attributes := slices.Sorted(slices.Values(quoted(row[4])))
		if row[4] == "the same" {
			attributes = before
		}
		before = attributes
		all[quoted(row[0])[0]] = documented{prometheus: quoted(row[1])[0], kind: row[2], unit: row[3], attributes: attributes}
	}
	return all
}

// The types of errors are those of the page, in the code and in what is emitted.
func TestPage_ErrorTypes(t *testing.T) {
	page := map[string]bool{}
	for _, row := range tables(t, "`error.type`") {
		for _, name := range quoted(row[0]) {
			page[name] = true
		}
	}
	known := func(texts ...ast.Expr) (n int) {
		for _, e := range texts {
			if text, ok := literal(e); ok {
				require.Contains(t, page, text)
				n++
			}
		}
		return n
	}
	causes, reasons, classes := 0, 0, 0
	inspect(t, "../internal/refusal/refusal.go", func(n ast.Node) {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == 1 {
			causes += known(spec.Values...)
		}
	})
	for _, file := range []string{"../inbox.go", "../forward.go", "../send.go"} {
		before := reasons
		inspect(t, file, func(n ast.Node) {
			if set, ok := n.(*ast.AssignStmt); ok {
				if of, ok := set.Lhs[0].(*ast.Ident); ok && of.Name == "reason" {
					reasons += known(set.Rhs[0])
				}
			}
		})
		require.Greater(t, reasons, before+2, "%s: they were not found", file)
	}
	posts := 0
	inspect(t, "../internal/post/class.go", func(n ast.Node) {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == 1 {
			posts += known(spec.Values...)
		}
	})
	inspect(t, "../process.go", func(n ast.Node) {
		if f, ok := n.(*ast.FuncDecl); ok && f.Name.Name == "class" {
			ast.Inspect(f, func(n ast.Node) bool {
				if r, ok := n.(*ast.ReturnStmt); ok {
					classes += known(r.Results...)
				}
				return true
			})
		}
	})
	require.Equal(t, []bool{true, true, true, true}, []bool{causes > 10, reasons > 12, classes > 3, posts > 11},
		"they were not found: %d, %d, %d, %d", causes, reasons, classes, posts)
	for _, i := range quickstart(t).instruments(t) {
		for _, value := range i.Attributes["error.type"] {
			require.Contains(t, page, value, i.Name)
		}
	}
}

// Every message of a log record is in the page's table, and no other.
func TestPage_LogRecords(t *testing.T) {
	var page []string
	for _, row := range tables(t, "message") {
		page = append(page, quoted(row[0])[0])
	}
	code := map[string]bool{}
	require.NoError(t, fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && path != "internal" && !strings.HasPrefix(path, "internal/") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		inspect(t, "../"+path, func(n ast.Node) {
			for _, text := range messages(n) {
				code[text] = true
			}
		})
		return nil
	}))
	require.ElementsMatch(t, slices.Collect(maps.Keys(code)), page)
}

// messages returns those of log records that n has: a call's text, the values of a
// map of them, constants.
func messages(n ast.Node) (texts []string) {
	var from []ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || !logs.MatchString(f.Sel.Name) {
			break
		}
		if of, ok := f.X.(*ast.Ident); !ok || of.Name != "http" { // http.Error answers
			from = n.Args
		}
	case *ast.KeyValueExpr:
		from = []ast.Expr{n.Value}
	case *ast.ValueSpec:
		from = n.Values
	}
	for _, e := range from {
		if text, ok := literal(e); ok && strings.HasPrefix(text, "webhook ") {
			texts = append(texts, text)
		}
	}
	return texts
}

var logs = regexp.MustCompile(`^(Debug|Info|Warn|Error|LogAttrs|Log)(Context)?$`)

func inspect(t testing.TB, path string, look func(ast.Node)) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if n != nil {
			look(n)
		}
		return true
	})
}

// literal returns the text of a string literal.
func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}
