package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// A POSIX record lock goes with its process, however that ends, and shows who
// holds it. It is not for several registries within one process: there it
// excludes nobody, and closing the file anywhere gives it up.

// acquire takes the folder's lock for this process; held is false when another
// process has it. The file must stay open.
func (f Folder) acquire() (file *os.File, held bool, err error) {
	file, err = os.OpenFile(f.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
	if err == nil {
		return file, true, nil
	}
	file.Close()
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return nil, false, nil
	}
	return nil, false, fmt.Errorf("lock %s: %w", f.lock(), err)
}

// holder is the process that holds the lock; 0 when nobody does.
func (f Folder) holder() (int, error) {
	file, err := os.OpenFile(f.lock(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("lock %s: %w", f.lock(), err)
	}
	switch {
	case lock.Type == syscall.F_UNLCK:
		return 0, nil
	case lock.Pid <= 0:
		return 0, fmt.Errorf("lock %s is held by a process that cannot be seen from here, such as one of another container", f.lock())
	}
	return int(lock.Pid), nil
}
