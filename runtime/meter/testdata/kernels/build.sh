#!/bin/sh
# Rebuilds the guests that the benchmark of metering compares. Needs clang and
# lld, and Rust with its wasm32-wasi target (Debian packages clang, lld, rustc,
# libstd-rust-dev-wasm32). The guest in Go is built by the benchmark.
set -eu
cd "$(dirname "$0")"
# In two steps: clang would call wasm-opt, where there is one, without the features.
clang --target=wasm32 -O2 -mbulk-memory -c -o c.o kernels.c
wasm-ld --no-entry --strip-all -o c.wasm c.o
rm c.o
rustc --target wasm32-wasi --crate-type cdylib -O -C strip=symbols -o rust.wasm kernels.rs
