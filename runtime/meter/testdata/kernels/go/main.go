// Command kernels is what the benchmark of metering lets Go compute. Each
// export does its work n times.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:wasmexport sha
func sha(n uint32) uint32 {
	data := make([]byte, 4096)
	for range n {
		sum := sha256.Sum256(data)
		data[0] = sum[0]
	}
	return uint32(data[0])
}

type server struct {
	ID   int            `json:"id"`
	Name string         `json:"name"`
	List []any          `json:"list"`
	Meta map[string]any `json:"meta"`
}

//go:wasmexport documents
func documents(n uint32) uint32 {
	doc := []byte(`{"id": 12345, "name": "server-one", "list": [1, 22, 333, true, null], "meta": {"a": "b\"c", "d": []}}`)
	total := 0
	for range n {
		var s server
		if err := json.Unmarshal(doc, &s); err != nil {
			panic(err)
		}
		text, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		total += len(text)
	}
	return uint32(total)
}

//go:wasmexport sort
func sort(n uint32) uint32 {
	x, list := uint32(1), make([]uint32, 5000)
	for range n {
		for i := range list {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			list[i] = x
		}
		slices.Sort(list)
	}
	return list[7]
}

//go:wasmexport matrix
func matrix(n uint32) uint32 {
	var a, b, c [32][32]float64
	for i := range a {
		for j := range a[i] {
			a[i][j], b[i][j] = float64(i+j), float64(i-j)
		}
	}
	for range n {
		for i := range a {
			for j := range b {
				sum := 0.0
				for k := range c {
					sum += a[i][k] * b[k][j]
				}
				c[i][j] = sum
			}
		}
	}
	return uint32(c[3][4])
}

//go:wasmexport words
func words(n uint32) uint32 {
	total := 0
	for range n {
		count := map[string]int{}
		for i := range 200 {
			count[fmt.Sprintf("word-%d", i%20)]++
		}
		for word, v := range count {
			total += len(strings.ToUpper(word)) * v
		}
	}
	return uint32(total)
}

func main() {}
