//go:build wasip1

package wasakari

import "unsafe"

// All imports and exports of the ABI; sdk/ABI.md describes them.

//go:wasmimport wasakari_v1 call
func importCall(op unsafe.Pointer, opLen uint32, req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) int64

//go:wasmimport wasakari_v1 take
func importTake(out unsafe.Pointer, outCap uint32) int64

//go:wasmimport wasakari_v1 submit
func importSubmit(op unsafe.Pointer, opLen uint32, req unsafe.Pointer, reqLen uint32) int64

//go:wasmimport wasakari_v1 wait
func importWait(timeoutMS int32, out unsafe.Pointer, outCap uint32) int64

//go:wasmimport wasakari_v1 log
func importLog(level int32, msg unsafe.Pointer, length uint32)

//go:wasmimport wasakari_v1 progress
func importProgress(permille int32, msg unsafe.Pointer, length uint32)

//go:wasmexport run
func exportRun() int32 { return runGuest(wasmImports{}, false) }

//go:wasmexport revert
func exportRevert() int32 { return runGuest(wasmImports{}, true) }

// Called by the host only.
var _, _ = exportRun, exportRevert

type wasmImports struct{}

func text(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s)) //nolint:gosec // pointers are what the ABI takes
}

func data(b []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)) //nolint:gosec // pointers are what the ABI takes
}

func (wasmImports) call(op string, req, out []byte) int64 {
	o, ol := text(op)
	r, rl := data(req)
	a, al := data(out)
	return importCall(o, ol, r, rl, a, al)
}

func (wasmImports) take(out []byte) int64 {
	a, al := data(out)
	return importTake(a, al)
}

func (wasmImports) submit(op string, req []byte) int64 {
	o, ol := text(op)
	r, rl := data(req)
	return importSubmit(o, ol, r, rl)
}

func (wasmImports) wait(timeoutMS int32, out []byte) int64 {
	a, al := data(out)
	return importWait(timeoutMS, a, al)
}

func (wasmImports) log(level int32, msg string) {
	m, ml := text(msg)
	importLog(level, m, ml)
}

func (wasmImports) progress(permille int32, msg string) {
	m, ml := text(msg)
	importProgress(permille, m, ml)
}
