package discovery

import "syscall"

// changeTime is when anything of a file was changed last, in nanoseconds.
func changeTime(s *syscall.Stat_t) int64 { return s.Ctimespec.Nano() }
