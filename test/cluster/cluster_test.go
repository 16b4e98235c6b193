package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestClusterFromEnv(t *testing.T) {
	tests := []struct {
		name, clusterName, state string
		want                     cluster
		fails                    bool
	}{
		{name: "default", want: cluster{name: "harmony-test", state: "/s/harmony-test/cluster"}},
		{name: "named", clusterName: "eu", want: cluster{name: "harmony-test-eu", state: "/s/harmony-test/cluster-eu", slot: slotOf("eu")}},
		{name: "own folder", state: "/x/y/", want: cluster{name: "harmony-test", state: "/x/y"}},
		{name: "relative folder", state: "x", fails: true},
		{name: "folder too long for sockets", state: "/" + strings.Repeat("x", maxStatePath), fails: true},
		{name: "bad name", clusterName: "../eu", fails: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_STATE_HOME", "/s")
			t.Setenv("XDG_CACHE_HOME", "/c")
			t.Setenv("HARMONY_CLUSTER_NAME", test.clusterName)
			t.Setenv("HARMONY_CLUSTER_STATE", test.state)
			got, err := clusterFromEnv()
			if test.fails {
				if exitCode(err, t.Output()) != 2 {
					t.Fatalf("error %v, want one with exit 2", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			test.want.cache = "/c/harmony-test"
			if *got != test.want {
				t.Errorf("got %+v, want %+v", *got, test.want)
			}
		})
	}
}

func TestSlotsStayInTheirRanges(t *testing.T) {
	for _, name := range []string{"eu", "us", "a", "staging", strings.Repeat("z", 22)} {
		c := cluster{slot: slotOf(name)}
		if c.slot < 1 || c.slot >= slots {
			t.Errorf("slot of %s is %d", name, c.slot)
		}
		if last := c.portNumber(portsPerCluster - 1); last >= 30000 {
			t.Errorf("%s: port %d is one of the services'", name, last)
		}
	}
}

func TestCheckStateRefusesOtherFolders(t *testing.T) {
	c := cluster{state: t.TempDir(), out: t.Output()}
	if err := c.checkState(); err != nil {
		t.Fatalf("empty folder: %v", err)
	}
	file := filepath.Join(c.state, "thesis.txt")
	if err := writeFile(file, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.claimState(); exitCode(err, t.Output()) != 2 {
		t.Fatalf("foreign folder: got %v, want exit 2", err)
	}
	c.state = filepath.Join(c.state, "cluster")
	if err := c.claimState(); err != nil {
		t.Fatal(err)
	}
	if err := c.checkState(); err != nil {
		t.Fatalf("own folder: %v", err)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		args string
		want string
		code int
	}{
		{"up", "up", 0},
		{"up test", "up", 0},
		{"up bench", "up", 0},
		{"up podman", "", 2},
		{"down", "down", 0},
		{"down now", "", 2},
		{"env", "env", 0},
		{"--help", "help", 0},
		{"start", "", 2},
		{"", "", 2},
	}
	for _, test := range tests {
		command, _, err := parse(strings.Fields(test.args))
		if command != test.want || exitCode(err, t.Output()) != test.code {
			t.Errorf("parse(%q) = %q, %v; want %q, exit %d", test.args, command, err, test.want, test.code)
		}
	}
}

func TestExitCode(t *testing.T) {
	wrapped := errors.Join(errors.New("first"), unsupported("no root"))
	if got := exitCode(wrapped, t.Output()); got != 3 {
		t.Errorf("exit %d, want 3", got)
	}
	if got := exitCode(errors.New("failed"), t.Output()); got != 1 {
		t.Errorf("exit %d, want 1", got)
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote("it's $HOME"), `'it'\''s $HOME'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
