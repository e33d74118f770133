// Package openstack is the way to a real cloud: Keystone and Nova through
// gophercloud.
//
// It logs in, finds Nova, agrees on microversions, sends requests and turns
// what comes back into the types and errors of package recovery. Reads are
// repeated when the cloud stumbles; a change is sent exactly once. Whether a
// change may be made, and what to do when its outcome is unknown, is decided
// elsewhere.
package openstack
