package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// The library without instruments is its source but for the functions that measure,
// and builds.
func TestLayOver(t *testing.T) {
	overlay, err := layOver(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(overlay)
	if err != nil {
		t.Fatal(err)
	}
	var files struct{ Replace map[string]string }
	if err := json.Unmarshal(raw, &files); err != nil {
		t.Fatal(err)
	}
	if len(files.Replace) == 0 {
		t.Error("nothing is laid over")
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "github.com/surehook/webhook").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
