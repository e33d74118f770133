package oci

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry"

	"github.com/wasakari/wasakari/recovery"
)

// Scheme begins a reference.
const Scheme = "oci://"

// Reference names an artifact in a registry.
type Reference struct {
	ref registry.Reference // whose Reference is the digest, when there is one
	tag string
}

// ParseReference reads oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]. The
// error matches recovery.ErrInvalid.
func ParseReference(text string) (Reference, error) {
	rest, ok := strings.CutPrefix(text, Scheme)
	wrong := func(why string) (Reference, error) {
		return Reference{}, fmt.Errorf("%q: %w: %s; want %sHOST[:PORT]/REPOSITORY, and :TAG or @sha256: and 64 hex digits", text, recovery.ErrInvalid, why, Scheme)
	}
	if !ok {
		return wrong("it does not begin with " + Scheme)
	}
	ref, err := registry.ParseReference(rest)
	if err != nil {
		return wrong(strings.TrimPrefix(err.Error(), "invalid reference: "))
	}
	if ref.Reference == "" {
		return wrong("it has neither a tag nor a digest")
	}
	r := Reference{ref: ref}
	if _, err := ref.Digest(); err != nil {
		r.tag = ref.Reference
		return r, nil
	}
	if d := digest.Digest(ref.Reference); d.Algorithm() != digest.SHA256 {
		return wrong("its digest is not of sha256")
	}
	// oras leaves a tag before a digest out.
	path := rest[strings.IndexByte(rest, '/')+1 : strings.IndexByte(rest, '@')]
	if _, tag, ok := strings.Cut(path, ":"); ok {
		r.tag = tag
	}
	return r, nil
}

// String writes the reference as ParseReference reads it.
func (r Reference) String() string {
	text := Scheme + r.ref.Registry + "/" + r.ref.Repository
	if r.tag != "" {
		text += ":" + r.tag
	}
	if d := r.Digest(); d != "" {
		text += "@" + d
	}
	return text
}

// Digest is that of the artifact, sha256:…, empty when the reference has none.
func (r Reference) Digest() string {
	d, err := r.ref.Digest()
	if err != nil {
		return ""
	}
	return d.String()
}

// Registry is the host, with its port when there is one.
func (r Reference) Registry() string { return r.ref.Registry }

// Tag is the tag, empty when there is none.
func (r Reference) Tag() string { return r.tag }

// at gives the reference with a digest.
func (r Reference) at(d digest.Digest) Reference {
	r.ref.Reference = d.String()
	return r
}
