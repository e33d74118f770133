package abi

import (
	"crypto/ed25519"
	"errors"
	"fmt"
)

// SignatureSection is the custom section that holds a signature: a byte 1, the
// public key (32 bytes), and the Ed25519 signature (64 bytes) of the module
// without this section.
const SignatureSection = "wasakari.signature"

const (
	signatureVersion = 1
	signatureBytes   = 1 + ed25519.PublicKeySize + ed25519.SignatureSize
)

// Reasons why a signature is refused. Wrapped errors say where.
var (
	ErrBadSignature  = errors.New("the signature does not fit the module: it was changed after it was signed; sign it anew with wasakari task sign")
	ErrTwoSignatures = errors.New("two signatures: the module has more than one custom section " + SignatureSection + "; sign it anew with wasakari task sign")
)

// Sign gives a copy of a module signed with the key, in place of any signature
// that was there.
func Sign(wasm []byte, key ed25519.PrivateKey) ([]byte, error) {
	list, err := CustomSections(wasm)
	if err != nil {
		return nil, err
	}
	bare := without(wasm, list, SignatureSection)
	data := append([]byte{signatureVersion}, key.Public().(ed25519.PublicKey)...)
	data = append(data, ed25519.Sign(key, bare)...)
	return appendCustom(bare, SignatureSection, data), nil
}

// ReadSignature gives the public key of who signed a module, nil when it is
// not signed. The signature fits the module, else the error is
// ErrBadSignature.
func ReadSignature(wasm []byte) (ed25519.PublicKey, error) {
	found, err := onlySection(wasm, SignatureSection, ErrTwoSignatures)
	if found == nil || err != nil {
		return nil, err
	}
	if len(found.Data) != signatureBytes || found.Data[0] != signatureVersion {
		return nil, fmt.Errorf("%w (the section at byte %d is no signature of version %d)", ErrBadSignature, found.Offset, signatureVersion)
	}
	key := ed25519.PublicKey(append([]byte(nil), found.Data[1:1+ed25519.PublicKeySize]...))
	if !ed25519.Verify(key, without(wasm, []Section{*found}, SignatureSection), found.Data[1+ed25519.PublicKeySize:]) {
		return nil, ErrBadSignature
	}
	return key, nil
}

// without gives a copy of a module but for the custom sections of that name.
func without(wasm []byte, list []Section, names ...string) []byte {
	out := make([]byte, 0, len(wasm)+256)
	from := 0
	for _, s := range list {
		for _, n := range names {
			if s.Name == n {
				out = append(out, wasm[from:s.Offset]...)
				from = s.End
			}
		}
	}
	return append(out, wasm[from:]...)
}
