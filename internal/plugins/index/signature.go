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
)

// Signatures lie beside the manifests that they are of.
const (
	minisignSuffix = ".minisig"
	cosignSuffix   = ".sig"
)

func signatureSuffixes() []string { return []string{minisignSuffix, cosignSuffix} }

// signer is a public key that signatures are held against.
type signer struct {
	// suffix is what a signature's file has after the manifest's name.
	suffix string
	// verify reports whether the signature is one of the data by this key.
	verify func(data, signature []byte) bool
}

// parseKey reads a public key of minisign or of cosign. The zero signer, of an
// empty key, wants no signatures.
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
		return signer{}, errors.New("is no public key: want that of minisign, one line that begins with RW, or that of cosign in PEM")
	}
	return signer{minisignSuffix, func(data, signature []byte) bool {
		return minisign.Verify(key, data, signature)
	}}, nil
}

// cosignKey reads a key of the kind that cosign makes: ECDSA on P-256.
func cosignKey(text string) (signer, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return signer{}, errors.New("is no PEM of one PUBLIC KEY")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return signer{}, fmt.Errorf("is no public key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return signer{}, errors.New("is not of the kind that cosign makes, ECDSA on P-256")
	}
	return signer{cosignSuffix, func(data, signature []byte) bool {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signature)))
		hash := sha256.Sum256(data)
		return err == nil && ecdsa.VerifyASN1(key, hash[:], raw)
	}}, nil
}

// check is nil when every manifest of the tree is signed. One that is not says
// something about all: it is refused as a whole.
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
			return fmt.Errorf("%s is not signed by the index's key: %s is of other content or of another key", file, file+s.suffix)
		}
	}
	return nil
}
