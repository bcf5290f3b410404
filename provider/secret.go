package provider

import (
	"fmt"
	"strings"

	"github.com/surehook/webhook/signature"
)

// sharedSecret is the Scheme.Key of a sender whose secret is the key as it
// stands. expected says which one it is and where it is found; credentials that
// people mistake for it are known by what they begin with.
func sharedSecret(expected string, others ...string) func(secret string) (signature.Key, error) {
	return func(secret string) (signature.Key, error) {
		key, err := signature.RawKey(secret)
		if err != nil {
			return signature.Key{}, fmt.Errorf("%w: %s", err, expected)
		}
		for _, prefix := range others {
			if strings.HasPrefix(secret, prefix) {
				return signature.Key{}, fmt.Errorf("begins with %s, hence is another credential: expected %s", prefix, expected)
			}
		}
		return key, nil
	}
}
