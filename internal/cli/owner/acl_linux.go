package owner

import "syscall"

// hasACL reports whether a file has an access control list.
func hasACL(path string) bool {
	n, err := syscall.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
