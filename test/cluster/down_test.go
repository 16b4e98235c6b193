package main

import (
	"slices"
	"testing"
)

func TestMountsBelow(t *testing.T) {
	table := `22 1 0:5 / /state rw - ext4 /dev/sda rw
30 22 0:6 / /state/a rw shared:1 - tmpfs tmpfs rw
31 22 0:7 / /state/with\040space rw - tmpfs tmpfs rw
32 22 0:8 / /state2/b rw - tmpfs tmpfs rw
short
`
	want := []string{"/state/a", "/state/with space"}
	if got := mountsBelow(table, "/state"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRemoval(t *testing.T) {
	saved := `# made by iptables-save
*mangle
:PREROUTING ACCEPT [1:2]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-X - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A KUBE-SERVICES -d 198.19.0.1/32 -j KUBE-SVC-X
COMMIT
`
	want := `*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-X - [0:0]
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-X KUBE-SERVICES
-X KUBE-SVC-X
COMMIT
`
	if got := removal(saved); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := removal("*nat\n:DOCKER - [0:0]\nCOMMIT\n"); got != "" {
		t.Errorf("nothing of ours, but got\n%s", got)
	}
}

func TestCheckNode(t *testing.T) {
	tests := []struct {
		name, body string
		ready      bool
	}{
		{"ready", `{"status":{"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True"}]}}`, true},
		{"not ready", `{"status":{"conditions":[{"type":"Ready","status":"False","message":"no network"}]}}`, false},
		{"tainted", `{"spec":{"taints":[{"key":"node.kubernetes.io/not-ready"}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, false},
		{"silent", `{}`, false},
		{"no JSON", `<html>`, false},
	}
	for _, test := range tests {
		if err := checkNode([]byte(test.body)); (err == nil) != test.ready {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
