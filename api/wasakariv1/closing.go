package wasakariv1

import "context"

// closingOf is closed when the server begins to shut down; nil: never.
func closingOf(context.Context) <-chan struct{} { return nil }
