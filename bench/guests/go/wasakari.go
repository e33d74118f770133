//go:build wasip1 && !extism && !wapc

package main

import (
	"unsafe"

	"github.com/wasakari/wasakari/bench/internal/workload"
)

// For Wasakari, and for the bare runtimes, which are given the same import.
//
//go:wasmimport wasakari_v1 call
//go:noescape
func call(op unsafe.Pointer, opLen uint32, req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) int64

// host does an op and gives the length of the answer, or -1.
func host(op string, req, out []byte) int {
	n := call(unsafe.Pointer(unsafe.StringData(op)), uint32(len(op)), unsafe.Pointer(&req[0]), uint32(len(req)),
		unsafe.Pointer(&out[0]), uint32(len(out)))
	if n < 0 || n > int64(len(out)) {
		return -1
	}
	return int(n)
}

//go:wasmexport run
func run() int32 {
	n := host(workload.OpInput, []byte("{}"), input)
	if n < 0 || !work(input[:n]) {
		return 1
	}
	return 0
}
