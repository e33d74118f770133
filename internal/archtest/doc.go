// Package archtest holds the test that guards which room may import which.
package archtest
