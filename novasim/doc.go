// Package novasim is a simulated cloud: it speaks Keystone v3's and Nova 2.1's
// REST API over real HTTP, with the state changes and error answers of Nova 26.2.
//
// A Scenario says what is in the cloud, how slow it is and what goes wrong; the
// README beside this file explains each field. The package imports nothing else
// from this module.
package novasim
