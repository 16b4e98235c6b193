package clustertest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshdProgram is a whole path because sshd starts itself again for each login.
const sshdProgram = "/usr/sbin/sshd"

// sshdFolder is where root's sshd shuts in the part of it that has no rights. It
// is compiled in, and otherwise made by the service that the kit does not start.
const sshdFolder = "/run/sshd"

// sshdMark is a variable that every process has which is run by way of an SSHD.
const sshdMark = "HARMONY_TEST_SSHD"

// sshdPatience is how long the processes of closed connections may take to end.
const sshdPatience = 10 * time.Second

// SSHD is an OpenSSH server for one test.
type SSHD struct {
	// Login is USER@HOST:PORT, as it stands in a URL.
	Login string

	kit Kit
	pid int
}

// StartSSHD starts a server on a free port of this machine, where the test's own
// user may log in. What is run there has the variables in its environment. Until
// the end of the test the first ssh on PATH is the real one with the settings for
// this server. The test fails when a connection's processes outlive it. Servers
// of tests that run at once take turns.
func StartSSHD(t testing.TB, variables ...string) *SSHD {
	t.Helper()
	client, err := exec.LookPath("ssh")
	if err == nil {
		_, err = os.Stat(sshdProgram)
	}
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("needs the test cluster: %v", err)
	default:
		t.Skipf("needs the test cluster: %v", err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &SSHD{kit: Kit{TB: t, Programs: filepath.Dir(sshdProgram), Dir: t.TempDir()}}
	address := "127.0.0.1:" + s.kit.Port()
	s.Login = me.Username + "@" + address
	s.kit.makeSSHDFolder()
	s.listen(address, variables)
	s.provide(client)
	return s
}

// listen starts the server, which trusts the client's key.
func (s *SSHD) listen(address string, variables []string) {
	k := s.kit
	k.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		k.Fatal(err)
	}
	k.Write("known_hosts", []byte(knownhosts.Line([]string{address}, s.newKey("host_key"))+"\n"))
	k.Write("authorized_keys", ssh.MarshalAuthorizedKey(s.newKey("key")))
	pidFile := filepath.Join(k.Dir, "sshd.pid")
	environment := "SetEnv"
	for _, v := range append([]string{sshdMark + "=" + k.Dir}, variables...) {
		environment += fmt.Sprintf(" %q", v)
	}
	// Without StrictModes the folder of the keys may lie in one of all users.
	config := k.Write("sshd_config", []byte(strings.Join([]string{
		"ListenAddress 127.0.0.1", "Port " + port, "PidFile " + pidFile,
		"HostKey " + filepath.Join(k.Dir, "host_key"), "AuthorizedKeysFile " + filepath.Join(k.Dir, "authorized_keys"),
		"AuthenticationMethods publickey", "StrictModes no", "UsePAM no", environment, "",
	}, "\n")))
	k.Start("sshd", filepath.Base(sshdProgram), nil, "-D", "-e", "-f", config)
	k.Await("sshd", func(context.Context) error { // which writes the file once it listens
		text, err := os.ReadFile(pidFile)
		if err != nil {
			return err
		}
		s.pid, err = strconv.Atoi(string(bytes.TrimSpace(text)))
		return err
	})
	k.Cleanup(s.end)
}

// provide puts the client on PATH. It is a script because ssh looks for its
// settings in the home folder that passwd names, whatever HOME says: only an
// argument turns it away from the user's own.
func (s *SSHD) provide(client string) {
	k := s.kit
	k.Helper()
	config := k.Write("ssh_config", []byte(strings.Join([]string{
		"IdentityFile " + filepath.Join(k.Dir, "key"), "IdentitiesOnly yes", "IdentityAgent none",
		"UserKnownHostsFile " + filepath.Join(k.Dir, "known_hosts"), "GlobalKnownHostsFile none", "StrictHostKeyChecking yes", "",
	}, "\n")))
	bin := filepath.Join(k.Dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		k.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' -F '%s' \"$@\"\n", client, config)
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o700); err != nil {
		k.Fatal(err)
	}
	k.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// ReplaceKey gives the client another key, which the server does not know.
func (s *SSHD) ReplaceKey() {
	s.kit.Helper()
	s.newKey("key")
}

func (s *SSHD) newKey(name string) ssh.PublicKey {
	s.kit.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		s.kit.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "of a test")
	if err != nil {
		s.kit.Fatal(err)
	}
	s.kit.Write(name, pem.EncodeToMemory(block))
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		s.kit.Fatal(err)
	}
	return key
}

// makeSSHDFolder sees to it that sshdFolder is there until the end of the test.
// The lock keeps others from removing it, or from taking it for the machine's.
func (k Kit) makeSSHDFolder() {
	k.Helper()
	if os.Geteuid() != 0 {
		return // the whole of sshd has no rights then
	}
	parent, err := os.Open(filepath.Dir(sshdFolder))
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { parent.Close() }) // ends the lock
	k.Await("the lock for "+sshdFolder, func(context.Context) error {
		return syscall.Flock(int(parent.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	err = os.Mkdir(sshdFolder, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return
	}
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() {
		if err := os.Remove(sshdFolder); err != nil {
			k.Error(err)
		}
	})
}

// end waits until no connection is left: whoever used one has closed it by now.
func (s *SSHD) end() {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	left := s.Connections()
	for deadline := time.Now().Add(sshdPatience); len(left) > 0 && time.Now().Before(deadline); left = s.Connections() {
		<-ticker.C
	}
	for _, p := range left {
		s.kit.Errorf("left by a connection: process %d: %s", p.pid, p.command)
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended meanwhile
	}
}

// Process is one of this machine.
type Process struct {
	pid, parent          int
	command, environment string
}

// Connections are the processes that serve connections: each ssh on this side,
// and on the other the server's and those that they started.
func (s *SSHD) Connections() []Process {
	all, own := processes(), map[int]bool{s.pid: true}
	var found []Process
	for before := -1; before != len(found); { // once more for the children of those that were found
		before = len(found)
		for _, p := range all {
			if !own[p.pid] && (own[p.parent] || strings.Contains(p.command, s.kit.Dir+"/") || strings.Contains(p.environment, sshdMark+"="+s.kit.Dir+"\x00")) {
				own[p.pid] = true
				found = append(found, p)
			}
		}
	}
	return found
}

// processes leaves out what ends while it looks.
func processes() []Process {
	folders, _ := filepath.Glob("/proc/[0-9]*") // no error but that of a wrong pattern
	var all []Process
	for _, folder := range folders {
		stat, err := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil {
			continue
		}
		command, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil {
			continue
		}
		environment, _ := os.ReadFile(filepath.Join(folder, "environ")) // what may not be read is another user's
		pid, _ := strconv.Atoi(filepath.Base(folder))
		// After the name, which may hold anything: the state and the parent.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		all = append(all, Process{pid: pid, parent: parent, environment: string(environment),
			command: strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " "))})
	}
	return all
}
