// Package hostile holds no code but tests: what a task may try through the ops
// that it may ask for, each attack with what must come of it. The attacks on
// the sandbox itself are in runtime/hostile.
package hostile
