// Package oci carries modules to and from OCI registries, in the layout for
// wasm artifacts of CNCF's TAG Runtime: an image manifest whose config is of
// type application/vnd.wasm.config.v0+json and whose one layer, of type
// application/wasm, is the module.
package oci
