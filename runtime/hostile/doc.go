// Package hostile holds no code but tests: what a stranger's module may try
// against the runtime, each attack with what must come of it. The attacks on
// the ops are in hostfuncs/hostile.
package hostile
