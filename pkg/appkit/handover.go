package appkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/nationtech/harmony/pkg/protocol"
)

// handedOver are the commands of harmony that an app plugin has too, for its own
// apps.
var handedOver = [...]string{"release", "plan", "build", "publish", "deploy", "smoke", "diff", "status", "rollback"}

func isHandedOver(command string) bool { return slices.Contains(handedOver[:], command) }

// handOver replaces this process by harmony, which takes its apps from this
// plugin. It returns only when that fails.
func (p Plugin) handOver(args []string) error {
	harmony, err := exec.LookPath("harmony")
	if err != nil {
		return protocol.Unsupported("harmony-%s %s is a command of harmony: %w", p.Name, args[0], err).
			WithHint("install harmony, and put its folder on PATH")
	}
	if err := p.checkFound(); err != nil {
		return err
	}
	environment := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, pluginVariable+"=") })
	err = syscall.Exec(harmony, append([]string{harmony}, args...), append(environment, pluginVariable+"="+p.Name))
	return protocol.Unsupported("run %s: %w", harmony, err)
}

// pluginVariable tells harmony which app plugin its apps come from.
const pluginVariable = "HARMONY_APP_PLUGIN"

// checkFound holds that harmony finds this very program by its name, and asks no
// other one for the apps.
func (p Plugin) checkFound() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	found, err := exec.LookPath("harmony-" + p.Name)
	if err != nil {
		return protocol.Unsupported("harmony would not find %s: %w", self, err).
			WithHint("put %s on PATH, under the name harmony-%s", filepath.Dir(self), p.Name)
	}
	ours, err := os.Stat(self)
	if err != nil {
		return err
	}
	if theirs, err := os.Stat(found); err != nil || !os.SameFile(ours, theirs) {
		return protocol.Unsupported("harmony would ask %s, which comes before %s on PATH", found, self)
	}
	return nil
}
