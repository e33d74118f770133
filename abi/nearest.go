package abi

import "strings"

// NearestOp gives the op that name was probably meant to be, or "".
func NearestOp(name []byte) string {
	if len(name) > maxOpName {
		return ""
	}
	names := make([]string, len(ops))
	for i, o := range ops {
		names[i] = o.Name
	}
	return nearest(string(name), names)
}

// nearest gives the name of known that name was probably meant to be: one that
// differs in case or dashes only, or in at most a third of its letters. It
// gives "" when none is that near.
func nearest(name string, known []string) string {
	const longest = 128 // the distance costs the product of both lengths
	if name == "" || len(name) > longest {
		return ""
	}
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	name = fold(name)
	best, bestDist := "", min(max(2, len(name)/3), len(name)/2)+1
	for _, k := range known {
		if d := len(k) - len(name); d >= bestDist || -d >= bestDist {
			continue
		}
		if d := distance(name, fold(k)); d < bestDist {
			best, bestDist = k, d
		}
	}
	return best
}

// distance counts the letters to change, drop or put in to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// meant is a hint at the nearest name, empty when there is none.
func meant(name string, known []string) string {
	if n := nearest(name, known); n != "" {
		return "did you mean " + n + "?"
	}
	return ""
}

// Nearest gives the name of known that name was probably meant to be, or "".
func Nearest(name string, known []string) string { return nearest(name, known) }
