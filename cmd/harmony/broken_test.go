package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// brokenScript is a release whose check on staging really fails.
const brokenScript = `env REAL_CHECKS=1
env FAKE_OUTCOME=upgraded
exec sh -c 'harmony release fleet --version 1.4.0 --topology office -o json >out; echo status $?'
stdout 'status 5'
stderr 'broken \(%[1]s\)'
stderr 'staging was taken back to 1.3.0'
grep deploy:fleet:staging log
grep back:fleet:staging log
! grep production log
-- harmony.yaml --
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: fleet}
spec:
  image: {buildable: {type: go}}
  chart: {path: charts, image: {value: image}}
  smoke: [{name: broken, timeout: 500ms, interval: 100ms, %[1]s: %[2]s}]
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: office}
spec:
  containerBuilder: {adapter: daemonless}
  ociRegistry: {adapter: oci, url: registry.example.com/fleet}
  helmRegistry: {adapter: oci, url: registry.example.com/fleet}
  continuousDelivery: {adapter: helm}
  targets:
    staging: {inCluster: {namespace: x}}
    production: {inCluster: {namespace: y}}
`

// A staging that is broken, whichever kind of check finds it, never touches
// production. The kinds are those that need no cluster; nothing listens on port 1.
func TestBrokenStagingNeverTouchesProduction(t *testing.T) {
	params := scripts()
	for kind, check := range map[string]string{
		"http":       `{url: "http://127.0.0.1:1/"}`,
		"tcp":        `{address: "127.0.0.1:1"}`,
		"grpc":       `{address: "127.0.0.1:1"}`,
		"prometheus": `{url: "http://127.0.0.1:1", query: up, min: 1}`,
		"exec":       `{command: ["false"]}`,
	} {
		file := filepath.Join(t.TempDir(), kind+".txtar")
		if err := os.WriteFile(file, fmt.Appendf(nil, brokenScript, kind, check), 0o600); err != nil {
			t.Fatal(err)
		}
		params.Files = append(params.Files, file)
	}
	testscript.Run(t, params)
}
