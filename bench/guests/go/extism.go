//go:build wasip1 && extism

package main

import (
	"encoding/binary"

	"github.com/wasakari/wasakari/bench/internal/workload"
)

// For Extism every byte between guest and host goes through the kernel's
// memory, eight at a time, as in Extism's own kits.

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u64
func inputLoad64(at uint64) uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoad8(at uint64) uint32

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env free
func free(at uint64)

//go:wasmimport extism:host/env length
func length(at uint64) uint64

//go:wasmimport extism:host/env load_u64
func load64(at uint64) uint64

//go:wasmimport extism:host/env load_u8
func load8(at uint64) uint32

//go:wasmimport extism:host/env store_u64
func store64(at, v uint64)

//go:wasmimport extism:host/env store_u8
func store8(at uint64, v uint32)

//go:wasmimport extism:host/user kv_get
func kvGet(req uint64) uint64

//go:wasmimport extism:host/user nova_server_get
func novaServerGet(req uint64) uint64

// host does an op and gives the length of the answer, or -1.
func host(op string, req, out []byte) int {
	in := alloc(uint64(len(req)))
	whole := len(req) &^ 7
	for i := 0; i < whole; i += 8 {
		store64(in+uint64(i), binary.LittleEndian.Uint64(req[i:]))
	}
	for i := whole; i < len(req); i++ {
		store8(in+uint64(i), uint32(req[i]))
	}
	var at uint64
	if op == workload.OpGet {
		at = kvGet(in)
	} else {
		at = novaServerGet(in)
	}
	free(in)
	if at == 0 {
		return 0
	}
	n := int(length(at))
	if n > len(out) {
		return -1
	}
	whole = n &^ 7
	for i := 0; i < whole; i += 8 {
		binary.LittleEndian.PutUint64(out[i:], load64(at+uint64(i)))
	}
	for i := whole; i < n; i++ {
		out[i] = byte(load8(at + uint64(i)))
	}
	free(at)
	return n
}

//go:wasmexport run
func run() int32 {
	n := int(inputLength())
	if n > len(input) {
		return 1
	}
	whole := n &^ 7
	for i := 0; i < whole; i += 8 {
		binary.LittleEndian.PutUint64(input[i:], inputLoad64(uint64(i)))
	}
	for i := whole; i < n; i++ {
		input[i] = byte(inputLoad8(uint64(i)))
	}
	if !work(input[:n]) {
		return 1
	}
	return 0
}
