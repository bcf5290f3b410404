package webhook_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocs_SnippetsCompile builds every block of Go in README.md and docs/ that
// names no file: a whole program as it stands, a fragment inside of a function.
func TestDocs_SnippetsCompile(t *testing.T) {
	checkout, err := os.Getwd()
	require.NoError(t, err)

	dir := t.TempDir()
	n := 0
	for _, page := range docPages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for i, block := range goBlock.FindAllStringSubmatch(string(text), -1) {
			n++
			name := fmt.Sprintf("%s_%d", strings.TrimSuffix(filepath.Base(page), ".md"), i+1)
			writeSnippet(t, filepath.Join(dir, strings.ToLower(name)), block[1])
		}
	}
	require.Greater(t, n, 5, "no snippets found: this test looks at nothing")
	makeModule(t, dir, checkout)
	goCommand(t, dir, "build", "./...")
}

// TestDocs_VerifyingPageRuns runs the tests that docs/verifying.md shows, against
// the sender that it declares.
func TestDocs_VerifyingPageRuns(t *testing.T) {
	checkout, err := os.Getwd()
	require.NoError(t, err)
	page, err := os.ReadFile("docs/verifying.md")
	require.NoError(t, err)
	dir := t.TempDir()
	n := 0
	for i, block := range goBlock.FindAllStringSubmatch(string(page), -1) {
		switch code := block[1]; {
		case strings.HasPrefix(code, "package acme"):
			require.NoError(t, os.WriteFile(filepath.Join(dir, "acme.go"), []byte(code), 0o600))
		case strings.HasPrefix(code, "func Test"):
			n++
			code = "package acme\n" + importsOf(code) + code
			require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("acme%d_test.go", i)), []byte(code), 0o600))
		}
	}
	require.Equal(t, 2, n, "of its own request, and of a published one")
	makeModule(t, dir, checkout)
	goCommand(t, dir, "test", "./...")
}

// makeModule makes a module of dir that uses the checkout.
func makeModule(t *testing.T, dir, checkout string) {
	t.Helper()
	sqlite := root + "/store/sqlite"
	goCommand(t, dir, "mod", "init", "example.com/snippets")
	goCommand(t, dir, "mod", "edit",
		"-require="+root+"@v0.0.0", "-replace="+root+"="+checkout,
		"-require="+sqlite+"@v0.0.0", "-replace="+sqlite+"="+filepath.Join(checkout, "store/sqlite"))
	goCommand(t, dir, "mod", "tidy")
}

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestDocs_FilesAreAsShown compares the blocks that name a file, such as
//
//	```go interop/migrating/before/stripe.go
//
// with it. They need modules that the core has not, and compile because the file
// does, in a module of its own.
func TestDocs_FilesAreAsShown(t *testing.T) {
	n := 0
	for _, page := range docPages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, block := range fileBlock.FindAllStringSubmatch(string(text), -1) {
			n++
			file, shown := strings.TrimSpace(block[1]), block[2]
			require.Regexp(t, `^(examples|interop)/[a-z_/-]+\.go$`, file, "%s: what stands behind go is the file that is shown", page)
			is, err := os.ReadFile(filepath.FromSlash(file))
			require.NoError(t, err, page)
			require.Equal(t, string(is), shown, "%s shows %s otherwise than it is", page, file)
		}
	}
	require.Positive(t, n, "no files found: this test looks at nothing")
}

// fileBlock is every block of Go that goBlock is not.
var fileBlock = regexp.MustCompile("(?s)```go([^\n]+)\n(.*?)```")

// docPages are README.md and the pages of docs/.
func docPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	return append(pages, "README.md")
}

// writeSnippet makes a package of block in dir.
func writeSnippet(t *testing.T, dir, block string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	if strings.HasPrefix(block, "package ") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(block), 0o600))
		return
	}
	if !function.MatchString(block) {
		block = "func _() error {\n" + block + "\nreturn nil\n}\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "snippet.go"), []byte("package snippet\n"+importsOf(block)+block), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "around.go"), []byte(around), 0o600))
	if !strings.Contains(block, "func Acme(") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "acme.go"), []byte(aroundAcme), 0o600))
	}
}

// TestDocs_NamedTestsExist looks up each test that a page names as its proof.
func TestDocs_NamedTestsExist(t *testing.T) {
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)?\b`)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	there := map[string]bool{}
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, f := range declared.FindAllStringSubmatch(string(source), -1) {
			there[f[1]] = true
		}
		return err
	}))
	page, err := os.ReadFile("docs/security.md")
	require.NoError(t, err)
	names := named.FindAllString(string(page), -1)
	require.Greater(t, len(names), 20, "no names found: this test looks at nothing")
	for _, name := range names {
		require.True(t, there[name], "docs/security.md names %s, which is no test", name)
	}
}

// function is a fragment that is whole declarations.
var function = regexp.MustCompile(`(?m)^func `)

// importsOf returns the imports that a fragment needs.
func importsOf(block string) string {
	var imports strings.Builder
	for _, path := range snippetImports {
		if strings.Contains(block, path[strings.LastIndex(path, "/")+1:]+".") {
			fmt.Fprintf(&imports, "import %q\n", path)
		}
	}
	return imports.String()
}

// snippetImports are those that a fragment may use.
var snippetImports = []string{
	"context", "crypto", "crypto/hmac", "crypto/sha256", "crypto/tls", "database/sql", "encoding/hex", "errors", "fmt",
	"net/http", "net/http/httptest", "net/url", "os", "strconv", "strings", "testing", "testing/synctest", "time",
	root, root + "/provider", root + "/signature", root + "/store", root + "/store/memory", root + "/store/sqlite",
	root + "/store/storetest", root + "/webhooktest",
}

// around is what the fragments leave out.
const around = `package snippet

import (
	"context"
	"crypto/tls"
	"database/sql"
	"net/http"
	"testing"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

var (
	ctx   context.Context
	mux   *http.ServeMux
	st    *sqlite.Store
	inbox *webhook.Inbox
	shop  webhook.Verifier
	acme  webhook.Verifier

	ordersHandler http.Handler

	out               *webhook.Dispatcher
	endpoints         webhook.Endpoints
	db                *sql.DB
	clientCertificate tls.Certificate
)

type Invoice struct{}

func bill(context.Context, Invoice) error                        { return nil }
func createContact(context.Context, webhook.Event, string) error { return nil }
func secretOf(string) string                                     { return "" }
func syncContact(context.Context, webhook.Event) error           { return nil }
func logging(next http.Handler) http.Handler                     { return next }
func userOf(context.Context) string                              { return "" }
func withoutNames(b []byte) []byte                               { return b }
func pseudonym(s string) string                                  { return s }
func canBeRead(webhook.Event) bool                               { return true }

// Store is a store of somebody's own.
type Store struct {
	store.Store
	clock clock
}

type clock struct{}

func (clock) Add(any) {}

func open(testing.TB) store.Store { return nil }

func publish(context.Context, []webhook.Event) error { return nil }

// Keys is a store.Keys of somebody's own.
type Keys struct {
	store.Keys
	clock clock
}

func openKeys(testing.TB) store.Keys { return nil }
`

// aroundAcme is the sender that a page declares itself.
const aroundAcme = `package snippet

import "github.com/surehook/webhook"

func Acme(...string) (v webhook.Verifier, err error) { return v, err }
`
