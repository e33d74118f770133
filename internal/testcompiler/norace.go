//go:build !race

package testcompiler

const slow = false
