package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// fakeProcess writes a process into a proc file system of the test's own.
func fakeProcess(t *testing.T, environ, cmdline, stat string) string {
	t.Helper()
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "42"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"environ": environ, "cmdline": cmdline, "stat": stat} {
		if err := os.WriteFile(filepath.Join(proc, "42", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return proc
}

func TestReadProcess(t *testing.T) {
	const (
		stat = "42 (a) b) c) S 1 42 42 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 7 0 98765 1 2 3\n"
		ours = "PATH=/bin\x00HARMONY_TEST_CLUSTER=/s\x00HARMONY_TEST_COMPONENT=etcd\x00HARMONY_TEST_CONFIG=abc\x00"
	)
	tests := []struct {
		name, environ, cmdline, stat string
		ok, main                     bool
	}{
		{"ours", ours, "/cache/etcd\x00--name=x\x00", stat, true, true},
		{"child of ours", ours, "/bin/shim\x00", stat, true, false},
		{"another cluster's", "HARMONY_TEST_CLUSTER=/s2\x00HARMONY_TEST_COMPONENT=etcd\x00", "etcd\x00", stat, false, false},
		{"similar variable", "XHARMONY_TEST_CLUSTER=/s\x00HARMONY_TEST_CLUSTER=/t\x00HARMONY_TEST_COMPONENT=etcd\x00", "etcd\x00", stat, false, false},
		{"nobody's", "PATH=/bin\x00", "etcd\x00", stat, false, false},
		{"ended", "", "", stat, false, false},
		{"odd stat", ours, "etcd\x00", "42", false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, ok := readProcess(fakeProcess(t, test.environ, test.cmdline, test.stat), 42, "/s")
			if ok != test.ok {
				t.Fatalf("ok = %v, process %+v", ok, p)
			}
			if !ok {
				return
			}
			if p.started != 98765 || p.component != "etcd" || p.config != "abc" || p.main() != test.main {
				t.Errorf("got %+v, main %v", p, p.main())
			}
		})
	}
}

func TestSignalSparesAReusedPid(t *testing.T) {
	c := cluster{state: t.TempDir(), out: t.Output()}
	cmd := exec.Command("sleep", "60")
	cmd.Env = []string{"PATH=" + systemPath, stateVariable + "=" + c.state, componentVariable + "=sleep"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	list, err := c.processes()
	if err != nil || len(list) != 1 || list[0].pid != cmd.Process.Pid || !isMain("sleep")(list[0]) {
		t.Fatalf("processes = %+v, %v; want the one of pid %d", list, err, cmd.Process.Pid)
	}

	earlier := list[0]
	earlier.started--
	if err := earlier.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Fatalf("the later process of pid %d was killed", earlier.pid)
	case <-time.After(200 * time.Millisecond):
	}
	if err := c.stop(t.Context(), 5*time.Second, func(process) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("sleep ended by itself")
	}
	if list, err := c.processes(); err != nil || len(list) > 0 {
		t.Errorf("still there: %+v, %v", list, err)
	}
}
