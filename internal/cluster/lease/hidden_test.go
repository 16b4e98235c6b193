//go:build linux

package lease

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestMain also serves as the process that looks at a holder from where /proc hides
// the processes of others.
func TestMain(m *testing.M) {
	if identity := os.Getenv("LEASE_HOLDER"); identity != "" {
		if err := syscall.Mount("proc", "/proc", "proc", 0, "hidepid=2"); err != nil {
			fmt.Print("cannot mount: ", err)
			return
		}
		if err := syscall.Setuid(3001); err != nil {
			fmt.Print(err)
			return
		}
		h, ok := parseHolder(identity)
		fmt.Print(ok, h.dead())
		return
	}
	os.Exit(m.Run())
}

// A process of another user that /proc does not show is not taken for dead.
func TestHolderBehindHidepid(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can hide processes")
	}
	alive := exec.Command("sleep", "60")
	if err := alive.Start(); err != nil {
		t.Fatal(err)
	}
	dead := process(alive.Process.Pid)
	t.Cleanup(func() { _ = alive.Process.Kill(); _ = alive.Wait() })
	dead.pid = 1 << 30
	for identity, want := range map[string]string{process(alive.Process.Pid).String(): "true false", dead.String(): "true true"} {
		c := exec.Command(os.Args[0])
		c.Env = []string{"LEASE_HOLDER=" + identity}
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
		if out, err := c.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%s: %s, %v, want %s", identity, out, err, want)
		}
	}
}
