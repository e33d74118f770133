#!/bin/sh
# Rebuilds the golden modules. Needs wat2wasm (Debian package wabt) and Go.
set -eu
cd "$(dirname "$0")/../.."
exec go run ./internal/testwasm/gen
