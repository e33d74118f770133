package runtime

// SetProgram makes another program the compiler and gives a function that
// takes that back.
func SetProgram(name string) (restore func()) {
	old := program
	program = name
	return func() { program = old }
}
