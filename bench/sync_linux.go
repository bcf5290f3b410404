package main

import (
	"os"
	"syscall"
)

// fdatasync waits for f's data, and for what is needed to read it back.
func fdatasync(f *os.File) error {
	return os.NewSyscallError("fdatasync", syscall.Fdatasync(int(f.Fd())))
}
