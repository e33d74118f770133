//go:build wasip1 && wapc

package main

import "unsafe"

//go:wasmimport wapc __guest_request
//go:noescape
func guestRequest(op, payload unsafe.Pointer)

//go:wasmimport wapc __host_call
//go:noescape
func hostCall(binding unsafe.Pointer, bindingLen uint32, ns unsafe.Pointer, nsLen uint32,
	op unsafe.Pointer, opLen uint32, payload unsafe.Pointer, payloadLen uint32) int32

//go:wasmimport wapc __host_response_len
func hostResponseLen() uint32

//go:wasmimport wapc __host_response
//go:noescape
func hostResponse(out unsafe.Pointer)

// host does an op and gives the length of the answer, or -1.
func host(op string, req, out []byte) int {
	o := unsafe.Pointer(unsafe.StringData(op))
	if hostCall(o, 0, o, 0, o, uint32(len(op)), unsafe.Pointer(&req[0]), uint32(len(req))) == 0 {
		return -1
	}
	n := int(hostResponseLen())
	if n > len(out) {
		return -1
	}
	hostResponse(unsafe.Pointer(&out[0]))
	return n
}

var operation [16]byte

// guestCall returns 1 when it went well.
//
//go:wasmexport __guest_call
func guestCall(opLen, payloadLen uint32) int32 {
	if int(opLen) > len(operation) || int(payloadLen) > len(input) {
		return 0
	}
	guestRequest(unsafe.Pointer(&operation[0]), unsafe.Pointer(&input[0]))
	if !work(input[:payloadLen]) {
		return 0
	}
	return 1
}
