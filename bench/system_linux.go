package main

import (
	"os"
	"syscall"
	"time"
)

// fdatasync waits for f's data, and for what is needed to read it back.
func fdatasync(f *os.File) error {
	return os.NewSyscallError("fdatasync", syscall.Fdatasync(int(f.Fd())))
}

// cpuTime returns what this process has used of the processors. Unlike what it
// achieved in that time, it hardly depends on what else the machine was doing.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
