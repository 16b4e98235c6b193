//go:build !linux

package clustertest

import "os/exec"

// dieWithParent does nothing: only Linux runs the kit.
func dieWithParent(*exec.Cmd) {}
