package index

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"aead.dev/minisign"

	"github.com/nationtech/harmony/pkg/protocol"
)

// A signature is a file beside its manifest.
const (
	minisignSuffix = ".minisig"
	cosignSuffix   = ".sig"
)

// signer is a public key that verifies signatures.
type signer struct {
	// suffix follows the manifest's name in that of the signature's file.
	suffix string
	verify func(data, signature []byte) bool
}

// signer is that of the index's key.
func (i Index) signer() (signer, error) {
	key, err := parseKey(i.Key)
	if err != nil {
		return key, protocol.Invalid("the key of index %s %w", i.Name, err)
	}
	return key, nil
}

// parseKey reads a public key of minisign or of cosign. An empty key is the zero
// signer, which requires no signatures.
func parseKey(text string) (signer, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return signer{}, nil
	case strings.HasPrefix(text, "-----BEGIN "):
		return cosignKey(text)
	}
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(text)); err != nil {
		return signer{}, errors.New("is not a public key: want a minisign key, one line that begins with RW, or a cosign key in PEM")
	}
	return signer{minisignSuffix, func(data, signature []byte) bool {
		return minisign.Verify(key, data, signature)
	}}, nil
}

// cosignKey reads a key as cosign generates it: ECDSA on P-256.
func cosignKey(text string) (signer, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return signer{}, errors.New("is not a PEM file with one PUBLIC KEY")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return signer{}, fmt.Errorf("is not a public key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return signer{}, errors.New("is not a cosign key, ECDSA on P-256")
	}
	return signer{cosignSuffix, func(data, signature []byte) bool {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signature)))
		hash := sha256.Sum256(data)
		return err == nil && ecdsa.VerifyASN1(key, hash[:], raw)
	}}, nil
}

// check is nil when every manifest of the tree is signed. A single unsigned one
// refuses the whole index.
func (s signer) check(files tree) error {
	if s.verify == nil {
		return nil
	}
	for _, file := range files.manifests() {
		signature, ok := files[file+s.suffix]
		if !ok {
			return fmt.Errorf("%s is not signed: there is no %s", file, file+s.suffix)
		}
		if !s.verify(files[file], signature) {
			return fmt.Errorf("%s is not signed by the index's key: %s is for other content or by another key", file, file+s.suffix)
		}
	}
	return nil
}
