package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
)

// maxKeyRead bounds the file of a key.
const maxKeyRead = 16 << 10

func newSign(w world) *cobra.Command {
	var keyFile, output string
	cmd := &cobra.Command{
		Use:   "sign MODULE --key KEY.pem [-o OUT]",
		Short: "Sign a module, so that its library can be told by who made it",
		Long: `Signs a module with an Ed25519 key and puts the signature into it, in place of
any that was there. An operator who has the public key in [libraries] takes
every module of the library that is signed with it; any later change of the
module breaks the signature. Make a key with

  openssl genpkey -algorithm ed25519 -out key.pem

The line to register the library by is printed.`,
		Example: "  wasakari task sign custom_pre_task.wasm --key key.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if keyFile == "" {
				return usagef("name the key to sign with: --key key.pem")
			}
			key, err := readKey(keyFile)
			if err != nil {
				return err
			}
			const others = 0o077
			if info, err := os.Stat(keyFile); err == nil && info.Mode()&others != 0 {
				fmt.Fprintf(w.stderr, "note: %s is not yours alone: who reads it signs in your name; chmod 600 %s\n", keyFile, quoteArg(keyFile))
			}
			wasm, err := readFile(args[0], maxModuleRead)
			if err != nil {
				return err
			}
			m, err := abi.ReadManifest(wasm)
			if err != nil {
				return &usageError{located(args[0], err)}
			}
			signed, err := abi.Sign(wasm, key)
			if err != nil {
				return usagef("%s: %w", args[0], err)
			}
			if output == "" {
				output = args[0]
			}
			if err := os.WriteFile(output, signed, 0o644); err != nil { //nolint:gosec // a module is no secret
				return &usageError{err}
			}
			fmt.Fprintf(w.stdout, "%s: signed; to know its library by this key, write below [libraries]:\n%s = %s\n",
				output, m.Library, config.PublicKey(key.Public().(ed25519.PublicKey)))
			return nil
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "`file` with the private key, PKCS#8 in PEM, as openssl writes it")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write (default: the module itself)")
	return cmd
}

// readKey reads an Ed25519 private key.
func readKey(file string) (ed25519.PrivateKey, error) {
	const want = "want an Ed25519 private key in PEM; make one with openssl genpkey -algorithm ed25519 -out key.pem"
	text, err := readFile(file, maxKeyRead)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, usagef("%s: the key is encrypted; write it in the clear where only you can read it: openssl pkey -in %s -out key.pem", file, quoteArg(file))
	}
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, usagef("%s: %s", file, want)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, usagef("%s: it holds several keys; name a file with the one to sign with", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, usagef("%s: %s", file, want) // the parser's own words may hold bytes of the key
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, usagef("%s: it holds a key of another kind; %s", file, want)
	}
	return key, nil
}
