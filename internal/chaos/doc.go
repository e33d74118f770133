// Package chaos proves that nothing is lost: real nodes, a real etcd cluster and
// a simulated cloud, killed, stopped and cut off from one another while
// notifications come in, and looked at from outside. Its tests are behind the
// build tag chaos; the README tells how to run them, and what they check.
package chaos
