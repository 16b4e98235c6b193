package discovery

import (
	"io/fs"
	"syscall"
)

// ownerOf is the user id of a file's owner.
func ownerOf(info fs.FileInfo) (int, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errNoOwner
	}
	return int(stat.Uid), nil
}

// inodeOf identifies a file beside its path.
func inodeOf(info fs.FileInfo) (uint64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errNoOwner
	}
	return stat.Ino, nil
}
