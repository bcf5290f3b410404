// Package before has handlers as the SDKs' documentation shows them: where
// docs/migrating.md starts from.
package before
