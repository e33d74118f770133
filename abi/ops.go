package abi

//go:generate go run ../internal/abigen -root ..

import "strconv"

// String gives the errno's name in error documents, such as not_found.
func (e Errno) String() string {
	if e >= 0 && int(e) < len(errnoNames) {
		return errnoNames[e]
	}
	return "errno " + strconv.Itoa(int(e))
}

// opsByName is filled once, before anything can look.
var opsByName = func() map[string]*Op {
	m := make(map[string]*Op, len(ops))
	for i, o := range ops {
		o.place = i + 1
		m[o.Name] = o
	}
	return m
}()

// Ops lists all ops in the order of the schema. The Ops are shared: callers
// must not change them.
func Ops() []*Op { return append([]*Op(nil), ops[:]...) }

// maxOpName is longer than any op's name, in bytes. What is longer is the
// guest's whole memory, maybe: it is not even looked at.
const maxOpName = 128

// LookupOp finds an op by its name, nil when there is none. It does not
// allocate.
func LookupOp(name []byte) *Op {
	if len(name) > maxOpName {
		return nil
	}
	return opsByName[string(name)]
}
