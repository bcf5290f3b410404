//go:build !linux

package main

import (
	"os"
	"time"
)

// fdatasync is the whole fsync where there is no other.
func fdatasync(f *os.File) error { return f.Sync() }

// cpuTime is not known elsewhere.
func cpuTime() time.Duration { return 0 }
