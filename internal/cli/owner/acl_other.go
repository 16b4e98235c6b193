//go:build !linux

package owner

// hasACL reports whether a file has an access control list that the mode of its
// group stands for; no other system has such lists.
func hasACL(string) bool { return false }
