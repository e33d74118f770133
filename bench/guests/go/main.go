//go:build wasip1

// The guest of the benchmarks in Go. The other files are the shims of the
// ABIs, chosen by build tag.
package main

import "github.com/wasakari/wasakari/bench/internal/workload"

func main() {}

var (
	request = []byte(`{"name":"host_name"}`)
	input   = make([]byte, 8<<10)
	answer  = make([]byte, 64<<10)
	counter uint32
)

//go:noinline
func count() { counter++ }

// tree calls itself 2^n times, without a loop.
//
//go:noinline
func tree(n uint32) {
	count()
	if n == 0 {
		return
	}
	tree(n - 1)
	tree(n - 1)
	count()
}

// work does what the input asks for, and says whether all was right.
func work(doc []byte) bool {
	in, err := workload.Check(doc)
	if err != nil {
		return false
	}
	switch in.Mode {
	case workload.Task, workload.Hold:
		for range in.N {
			if host(workload.OpGet, request, answer) != int(in.Size) {
				return false
			}
		}
		return in.Mode == workload.Task || host(workload.OpHold, request, answer) >= 0
	case workload.JSON:
		for range in.N {
			if _, err := workload.Check(doc); err != nil {
				return false
			}
		}
		return true
	case workload.Spin:
		for {
			count()
		}
	case workload.Recurse:
		tree(in.N)
		return true
	}
	return false
}
