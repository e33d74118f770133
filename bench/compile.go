package main

import "github.com/wasakari/wasakari/runtime"

// Wasakari compiles modules by starting the program again.
func init() { runtime.MaybeCompile() }
