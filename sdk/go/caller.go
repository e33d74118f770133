package wasakari

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// transport takes ops to the host. Its methods may be called concurrently.
type transport interface {
	// do gives the answer in a buffer that the caller must give back.
	do(ctx context.Context, op string, req []byte) (*bytes.Buffer, error)
	log(level int32, msg string)
	progress(permille int32, msg string)
}

// caller turns Go values into documents and back.
type caller struct{ t transport }

func (c *caller) do(ctx context.Context, op string, req, ans any) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	in := getBuffer()
	defer putBuffer(in)
	enc := json.NewEncoder(in)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(req); err != nil {
		return fmt.Errorf("%s: request: %w", op, err)
	}
	out, err := c.t.do(ctx, op, in.Bytes())
	if err != nil {
		return err
	}
	defer putBuffer(out)
	if ans == nil {
		return nil
	}
	if err := json.Unmarshal(out.Bytes(), ans); err != nil {
		return fmt.Errorf("%s: answer: %w", op, err)
	}
	return nil
}

// largestPooled keeps one huge answer from staying in the pool for ever.
const largestPooled = 256 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func getBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func putBuffer(b *bytes.Buffer) {
	if b != nil && b.Cap() <= largestPooled {
		b.Reset()
		buffers.Put(b)
	}
}
