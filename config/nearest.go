package config

import (
	"strings"

	"github.com/agext/levenshtein"
)

// Nearest gives the name of known that name was probably meant to be: one that
// differs in case, in dashes for underscores, or in at most a third of its
// letters, or two where there are at least four. It reports false when none is that near.
func Nearest(name string, known []string) (string, bool) {
	const longest = 256 // the distance costs the product of both lengths
	if name == "" || len(name) > longest {
		return "", false
	}
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), "-", "_") }
	folded := fold(name)
	best, bestDist := "", min(max(2, len(folded)/3), len(folded)/2)+1
	for _, k := range known {
		if k == name || len(k) > longest {
			continue
		}
		f := fold(k)
		if f == folded {
			return k, true
		}
		if d := len(f) - len(folded); d >= bestDist || -d >= bestDist {
			continue
		}
		if d := levenshtein.Distance(folded, f, nil); d < bestDist {
			best, bestDist = k, d
		}
	}
	return best, best != ""
}
