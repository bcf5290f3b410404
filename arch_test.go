package webhook_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "github.com/surehook/webhook"

// layer says what the packages of one part of the tree may import of ours. All
// its strings are patterns of path.Match, for paths relative to the root.
type layer struct {
	packages string
	may      []string
}

// layers stand in the order from the faces down to the contract: an arrow points
// down or not at all. A package belongs to the first that fits. Test files are
// free: they may look at the whole from above.
var layers = []layer{
	{"examples/*", []string{"*", "*/*"}},
	{"bench", []string{"*", "*/*"}},
	{"bench/*", []string{"*", "*/*"}},
	{"interop", []string{"*", "*/*"}},
	{"interop/*/*", []string{".", "provider", "store/*"}},
	{"ui", []string{".", "store"}},
	{"registry", []string{".", "internal/*", "store"}},
	{"webhooktest", []string{".", "internal/*", "store"}},
	{"provider", []string{"signature", ".", "internal/*"}},
	{"signature", []string{".", "internal/*"}},
	{".", []string{"internal/*", "store"}},
	{"internal/*", []string{"internal/*", "store"}},
	{"store/*", []string{"store"}}, // and no backend another
	{"store", nil},                 // the standard library alone
}

// goPackage is what go list -json tells of a package.
type goPackage struct {
	ImportPath                         string
	GoFiles                            []string // without tests
	Imports, TestImports, XTestImports []string
}

func TestArchitecture_ImportsPointDown(t *testing.T) {
	for _, module := range modules(t) {
		for _, p := range packages(t, module) {
			if len(p.GoFiles) > 0 {
				checkImports(t, p)
			}
		}
	}
}

func checkImports(t *testing.T, p goPackage) {
	t.Helper()
	pkg := relative(p.ImportPath)
	i := slices.IndexFunc(layers, func(l layer) bool { return matches(t, l.packages, pkg) })
	if !assert.GreaterOrEqual(t, i, 0, "%s stands in no layer: say in layers what it may import", pkg) {
		return
	}
	for _, imported := range p.Imports {
		if imported == root || strings.HasPrefix(imported, root+"/") {
			target := relative(imported)
			ok := slices.ContainsFunc(layers[i].may, func(may string) bool { return matches(t, may, target) })
			assert.True(t, ok, "%s imports %s: of ours it may import only %q", pkg, target, layers[i].may)
		} else if pkg == "store" {
			first, _, _ := strings.Cut(imported, "/")
			assert.NotContains(t, first, ".", "store imports %s: it may import only the standard library", imported)
		}
	}
}

// TestArchitecture_InternalIsForTheRoot holds what the compiler does not: a
// nested module has the root's path as its prefix, and could import internal/.
// It would then break with every change there.
func TestArchitecture_InternalIsForTheRoot(t *testing.T) {
	for _, module := range modules(t) {
		if module == "." {
			continue
		}
		for _, p := range packages(t, module) {
			for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
				assert.False(t, strings.HasPrefix(imported, root+"/internal/"), "%s imports %s of another module", p.ImportPath, imported)
			}
		}
	}
}

// coreDependencies are the modules that the core may require, and with it
// everybody who imports it.
var coreDependencies = []string{
	"github.com/cenkalti/backoff/v4",
	"github.com/stretchr/testify", // tests only
	"go.opentelemetry.io/otel",
	"go.opentelemetry.io/otel/metric",
	"go.opentelemetry.io/otel/trace",
	"golang.org/x/time",
}

func TestArchitecture_FewDependencies(t *testing.T) {
	for _, r := range requirements(t, ".") {
		if !r.Indirect {
			assert.Contains(t, coreDependencies, r.Path, "the core gets a new dependency, and everybody who imports it")
		}
	}
	for _, p := range packages(t, ".") {
		if strings.HasSuffix(p.ImportPath, "test") {
			continue // a test kit
		}
		for _, imported := range p.Imports {
			assert.NotContains(t, imported, "testify", "%s needs it outside its tests", p.ImportPath)
		}
	}
}

// TestArchitecture_NestedModules checks that each nested module builds from the
// checkout that it lies in.
func TestArchitecture_NestedModules(t *testing.T) {
	workspace, err := os.ReadFile("go.work")
	require.NoError(t, err)
	for _, module := range modules(t) {
		assert.Regexp(t, `(?m)^\s*(use )?(\./)?`+regexp.QuoteMeta(module)+`$`, string(workspace), "go.work lacks a module")
		if module == "." {
			continue
		}
		var mod struct {
			Replace []struct{ Old, New struct{ Path string } }
		}
		goJSON(t, module, &mod, "mod", "edit", "-json")
		for _, r := range requirements(t, module) {
			if r.Path != root && !strings.HasPrefix(r.Path, root+"/") {
				continue
			}
			want, err := filepath.Rel(module, relative(r.Path))
			require.NoError(t, err)
			replaced := slices.ContainsFunc(mod.Replace, func(r2 struct{ Old, New struct{ Path string } }) bool {
				return r2.Old.Path == r.Path && path.Clean(r2.New.Path) == want
			})
			assert.True(t, replaced, "%s/go.mod requires %s and lacks: replace %[2]s => %[3]s", module, r.Path, want)
		}
	}
}

// A file is read in one sitting, and its name says what it is about.
func TestArchitecture_Files(t *testing.T) {
	const maxLines = 500
	vague := []string{"util", "utils", "common", "helper", "helpers", "misc"}
	for _, file := range files(t, ".go") {
		for word := range strings.FieldsFuncSeq(strings.TrimSuffix(file, ".go"), func(r rune) bool { return r == '/' || r == '_' }) {
			assert.NotContains(t, vague, word, "%s: a name says what is in there", file)
		}
		if !strings.HasSuffix(file, "_test.go") {
			assert.LessOrEqual(t, lines(t, file), maxLines, "%s: two ideas, or one that is too large", file)
		}
	}
}

// relative returns the path of one of our packages below the root, "." for it.
func relative(importPath string) string {
	return path.Join(".", strings.TrimPrefix(importPath, root))
}

func matches(t *testing.T, pattern, pkg string) bool {
	t.Helper()
	ok, err := path.Match(pattern, pkg)
	require.NoError(t, err)
	return ok
}

// modules returns the folders of the modules in this repository, "." first.
func modules(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, file := range files(t, "go.mod") {
		dirs = append(dirs, path.Dir(file))
	}
	slices.Sort(dirs)
	require.Contains(t, dirs, ".")
	return dirs
}

// files returns the files below the root whose names end so.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	require.NoError(t, fs.WalkDir(os.DirFS("."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(d.Name(), suffix) {
			found = append(found, file)
		}
		return nil
	}))
	return found
}

// packages returns the packages of the module in dir.
func packages(t *testing.T, dir string) []goPackage {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(goCommand(t, dir, "list", "-json=ImportPath,GoFiles,Imports,TestImports,XTestImports", "./...")))
	var all []goPackage
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, p)
	}
}

type requirement struct {
	Path     string
	Indirect bool
}

// requirements returns what the go.mod of the module in dir requires.
func requirements(t *testing.T, dir string) []requirement {
	t.Helper()
	var mod struct{ Require []requirement }
	goJSON(t, dir, &mod, "mod", "edit", "-json")
	return mod.Require
}

func goJSON(t *testing.T, dir string, v any, args ...string) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(goCommand(t, dir, args...)), v))
}

// goCommand runs the go command in dir, outside the workspace, and returns what
// it prints.
func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s in %s: %s", strings.Join(args, " "), dir, &stderr)
	return string(out)
}

func lines(t *testing.T, file string) int {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); n++ {
	}
	return n
}
