// Package after has the handlers of package before behind this library, as
// docs/migrating.md shows them.
package after
