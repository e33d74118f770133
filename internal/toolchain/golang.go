package toolchain

import "context"

var goLanguage = language{
	name:  "go",
	marks: []string{"go.mod"},
	tools: []tool{{"go", "Go 1.24 or later from https://go.dev/dl, or apt install golang-go where it is new enough"}},
	build: func(ctx context.Context, b *builder, out string) error {
		b.version(ctx, "go", "env", "GOVERSION")
		// A reactor: Wasakari calls its function, it has no program that runs.
		_, err := b.run(ctx, []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"},
			"go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
		return err
	},
}
