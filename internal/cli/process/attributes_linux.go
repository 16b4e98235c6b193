package process

import "syscall"

// attributes put a child into a process group of its own, and end it with this
// process, however that ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
