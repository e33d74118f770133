//go:build !cgo

package main

import "context"

// compileWasmtime stands in where there is no C compiler.
func compileWasmtime(context.Context, []byte, *host, string) (program, error) {
	return nil, errNotOffered("this program was built without cgo")
}
