package abi_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

// keyOf makes the same key of the same seed.
func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// signable is a module with a manifest.
func signable(t testing.TB) []byte {
	t.Helper()
	wasm, err := abi.AppendManifest([]byte("\x00asm\x01\x00\x00\x00"), &abi.Manifest{
		ABI: 1, Library: "acme", Version: "1.0.0", Tasks: []abi.ManifestTask{{Key: "x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func sign(t testing.TB, wasm []byte, key ed25519.PrivateKey) []byte {
	t.Helper()
	out, err := abi.Sign(wasm, key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSignature(t *testing.T) {
	plain := signable(t)
	signed := sign(t, plain, keyOf(1))
	sig := signed[len(plain):]
	flip := func(wasm []byte, at int) []byte {
		out := bytes.Clone(wasm)
		out[at] ^= 1
		return out
	}
	tests := []struct {
		name string
		wasm []byte
		want ed25519.PublicKey
		err  error
	}{
		{name: "not signed", wasm: plain},
		{name: "signed", wasm: signed, want: keyOf(1).Public().(ed25519.PublicKey)},
		{name: "signed anew by another", wasm: sign(t, signed, keyOf(2)), want: keyOf(2).Public().(ed25519.PublicKey)},
		{name: "signature first", wasm: append(append(bytes.Clone(plain[:8]), sig...), plain[8:]...), want: keyOf(1).Public().(ed25519.PublicKey)},
		{name: "section added behind", wasm: append(bytes.Clone(signed), custom("more", "")...), err: abi.ErrBadSignature},
		{name: "manifest changed", wasm: flip(signed, len(plain)-3), err: abi.ErrBadSignature},
		{name: "key changed", wasm: flip(signed, len(signed)-ed25519.SignatureSize-1), err: abi.ErrBadSignature},
		{name: "signature changed", wasm: flip(signed, len(signed)-1), err: abi.ErrBadSignature},
		{name: "another version", wasm: flip(signed, len(signed)-ed25519.SignatureSize-ed25519.PublicKeySize-1), err: abi.ErrBadSignature},
		{name: "too short", wasm: append(bytes.Clone(plain), custom(abi.SignatureSection, "\x01\x02")...), err: abi.ErrBadSignature},
		{name: "empty", wasm: append(bytes.Clone(plain), custom(abi.SignatureSection, "")...), err: abi.ErrBadSignature},
		{name: "twice", wasm: append(bytes.Clone(signed), sig...), err: abi.ErrTwoSignatures},
		{name: "signature of another module", wasm: append(append(bytes.Clone(plain), custom("more", "")...), sig...), err: abi.ErrBadSignature},
		{name: "no module", wasm: []byte("#!/bin/sh"), err: abi.ErrNotWasm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := abi.ReadSignature(tt.wasm)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("error = %v, want %v", err, tt.err)
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("key = %x, want %x", got, tt.want)
			}
		})
	}
	if again := sign(t, signed, keyOf(1)); !bytes.Equal(again, signed) {
		t.Error("signing twice with one key gives another module")
	}
	if _, err := abi.Sign([]byte("no module"), keyOf(1)); !errors.Is(err, abi.ErrNotWasm) {
		t.Errorf("Sign of no module = %v", err)
	}
}

// TestAppendManifestDropsSignature: what was signed is another module now.
func TestAppendManifestDropsSignature(t *testing.T) {
	signed := sign(t, signable(t), keyOf(1))
	wasm, err := abi.AppendManifest(signed, &abi.Manifest{ABI: 1, Library: "other", Version: "1.0.0", Tasks: []abi.ManifestTask{{Key: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	if key, err := abi.ReadSignature(wasm); key != nil || err != nil {
		t.Errorf("ReadSignature = %x, %v; want none", key, err)
	}
}

// FuzzSignature: no panic, and no module that was changed keeps its key.
func FuzzSignature(f *testing.F) {
	plain := signable(f)
	signed := sign(f, plain, keyOf(1))
	f.Add(signed)
	f.Add(plain)
	f.Add(append(bytes.Clone(signed), custom("more", "")...))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		key, err := abi.ReadSignature(wasm)
		if err != nil || key == nil {
			return
		}
		if key.Equal(keyOf(1).Public()) && !bytes.Equal(sign(t, wasm, keyOf(1)), signed) {
			t.Fatalf("a module that was not signed has the key's signature")
		}
	})
}
