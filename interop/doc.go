// Package interop has tests alone: what the senders' own SDKs for Go sign, the
// presets accept, and what the presets sign, the SDKs accept; what was tampered
// with, both refuse. It is a module of its own, so that nobody who imports the
// library gets an SDK.
//
// Below it lies the code of the page about migrating, which is run here too.
package interop
