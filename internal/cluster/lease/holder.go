package lease

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// holder says who holds a lease, so precisely that another process on the same
// machine can tell whether it still lives.
type holder struct {
	// host is its name, for people; boot and pids are the IDs of the kernel's
	// run and of the process namespace, empty where the system has none to tell.
	host, boot, pids string
	pid              int
	// start is when the process started, in the kernel's own count.
	start string
	// random distinguishes several leases of one process.
	random string
}

// Identity is how a process of this machine is named in a lease.
func Identity(pid int) string { return process(pid).String() }

// process is a new holder for a process of this machine.
func process(pid int) holder {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	boot, pids := machine()
	h := holder{host: strings.ReplaceAll(host, "/", "-"), boot: boot, pids: pids, pid: pid, random: rand.Text()}
	h.start, _ = startOf(h.pid)
	return h
}

// machine is the identity of the kernel's run and of the process namespace.
func machine() (boot, pids string) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", ""
	}
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", ""
	}
	return string(bytes.TrimSpace(id)), strings.Trim(strings.TrimPrefix(link, "pid:"), "[]")
}

// startOf is when a process started, "" when that cannot be read. gone is true when
// there is no such process, or only what is left of one that was not waited for.
func startOf(pid int) (start string, gone bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		// Where /proc hides the processes of others (hidepid), a file that does not
		// exist says nothing.
		return "", errors.Is(err, fs.ErrNotExist) && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, started = 0, 19
	if len(fields) <= started {
		return "", false
	}
	return fields[started], fields[state] == "Z" || fields[state] == "X"
}

func (h holder) String() string {
	return strings.Join([]string{h.host, h.boot, h.pids, strconv.Itoa(h.pid), h.start, h.random}, "/")
}

// parseHolder reads what String wrote; ok is false for another's identity.
func parseHolder(s string) (h holder, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 6 {
		return holder{}, false
	}
	pid, err := strconv.Atoi(parts[3])
	if err != nil {
		return holder{}, false
	}
	return holder{host: parts[0], boot: parts[1], pids: parts[2], pid: pid, start: parts[4], random: parts[5]}, true
}

// dead reports that the holder is proven to be gone: it ran here, under this
// kernel, and no process has its number and start any more.
func (h holder) dead() bool {
	boot, pids := machine()
	if boot == "" || h.boot != boot || h.pids != pids || h.start == "" || h.pid <= 0 {
		return false
	}
	start, gone := startOf(h.pid)
	return gone || start != "" && start != h.start
}

func describe(identity string) string {
	if h, ok := parseHolder(identity); ok {
		return fmt.Sprintf("process %d on %s", h.pid, h.host)
	}
	return identity
}
