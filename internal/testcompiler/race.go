//go:build race

package testcompiler

// slow says that this program is instrumented.
const slow = true
