//go:build !linux

package main

import "os"

// fdatasync is the whole fsync where there is no other.
func fdatasync(f *os.File) error { return f.Sync() }
