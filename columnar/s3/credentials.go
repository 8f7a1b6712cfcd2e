package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Credentials are what signs requests. They print as "[credentials]" in every way there is; the two pointers keep reflection from
// the bytes, as in internal/secret.
type Credentials struct{ p **credentials }

type credentials struct {
	accessKeyID          string
	secretKey, sessToken []byte
}

var errNotEncodable = errors.New("credentials are not encoded")

// NewCredentials copies the parts of a credential; session may be empty. The caller wipes its own copies.
func NewCredentials(accessKeyID string, secretKey, session []byte) Credentials {
	p := &credentials{accessKeyID: accessKeyID, secretKey: append([]byte(nil), secretKey...), sessToken: append([]byte(nil), session...)}
	return Credentials{&p}
}

// IsZero reports whether there is nothing to sign with.
func (c Credentials) IsZero() bool {
	return c.p == nil || (*c.p).accessKeyID == "" || len((*c.p).secretKey) == 0
}

// Wipe overwrites the secret parts. What the SDK copied into strings while it signed stays until it is collected.
func (c Credentials) Wipe() {
	if c.p != nil {
		clear((*c.p).secretKey)
		clear((*c.p).sessToken)
		(*c.p).secretKey = nil
	}
}

// Retrieve is the one place where the secret becomes a string, because the SDK's signer asks for one.
func (c Credentials) Retrieve(context.Context) (aws.Credentials, error) {
	if c.IsZero() {
		return aws.Credentials{}, errors.New("no credentials")
	}
	v := *c.p
	return aws.Credentials{AccessKeyID: v.accessKeyID, SecretAccessKey: string(v.secretKey), SessionToken: string(v.sessToken)}, nil
}

// Format writes "[credentials]" for every verb.
func (c Credentials) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[credentials]")) }

// LogValue is for slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue("[credentials]") }

// MarshalText refuses.
func (c Credentials) MarshalText() ([]byte, error) { return nil, errNotEncodable }

// MarshalBinary refuses.
func (c Credentials) MarshalBinary() ([]byte, error) { return nil, errNotEncodable }
