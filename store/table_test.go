package store_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wasakari/wasakari/store"
)

// Whoever reads notifications is told rightly that none that comes later was
// created after a moment, whatever order they came in, and is told soon.
func TestLatest(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		var made [][2]int64
		for _, id := range random.Perm(200) {
			if round%2 == 0 {
				id = len(made)
			}
			made = append(made, [2]int64{int64(id), int64(id) + random.Int64N(20)})
		}
		ids, created, latest := store.Latest(made, func(id int64) bool { return id%3 == 0 && round%5 == 0 })
		if !slices.IsSortedFunc(ids, func(a, b int64) int { return int(b - a) }) {
			t.Fatalf("round %d: ids %v", round, ids)
		}
		for i := range ids {
			if most := slices.Max(created[i:]); latest[i] < most || latest[i] > ids[i]+20 {
				t.Fatalf("round %d: of what comes from %d on it is told that it is not after %d, want %d or little more", round, ids[i], latest[i], most)
			}
		}
	}
}
