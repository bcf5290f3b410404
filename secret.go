package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Secret is a signing secret as its sender shows it. However it is printed,
// logged or marshalled, it shows its ID and never its Value; only a Secret in an
// unexported field of another struct escapes that, since package fmt cannot ask
// it.
type Secret struct {
	ID     string    // for logs, metrics and evidence of rotation; default: a fingerprint of Value
	Value  string    // "whsec_…", PEM, raw: the scheme checks the form; an empty one never fits
	Tenant string    // whose it is: becomes the tenant of the events that it fits
	Until  time.Time // neither signs nor fits from then on; zero: valid until it is removed
}

// String returns the ID, or a fingerprint of the Value where there is none.
func (s Secret) String() string {
	if s.ID != "" {
		return s.ID
	}
	return s.fingerprint()
}

// Format prints String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String())
}

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON is String: who stores secrets does it field by field, on purpose.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// usable reports whether the secret may sign and fit at that time.
func (s Secret) usable(at time.Time) bool {
	return s.Value != "" && (s.Until.IsZero() || at.Before(s.Until))
}

// fingerprint is short, so that it tells secrets of one receiver apart and tells
// next to nothing about the secret.
func (s Secret) fingerprint() string {
	if s.Value == "" {
		return "empty"
	}
	sum := sha256.Sum256([]byte("webhook secret\x00" + s.Value))
	return hex.EncodeToString(sum[:4])
}
