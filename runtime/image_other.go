//go:build !linux

package runtime

import (
	"errors"

	"github.com/wasakari/wasakari/runtime/meter"
)

func fileImage(*meter.Image) (*image, error) { return nil, errors.ErrUnsupported }

// mapInto is for images with a file.
func (m *image) mapInto([]byte) error { return errors.ErrUnsupported }
