package appkit

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/nationtech/harmony/pkg/protocol"
)

// SourceFolder is the folder of the source file that calls it, joined with path:
// where the plugin was built. It is "" in a build with -trimpath, which keeps no
// such folder.
func SourceFolder(path string) string {
	_, file, _, ok := runtime.Caller(1)
	if !ok || !filepath.IsAbs(file) {
		return ""
	}
	return filepath.Join(filepath.Dir(file), path)
}

// rootVariable names the folder of the sources in the environment:
// HARMONY_FLEET_ROOT for harmony-fleet.
func (p Plugin) rootVariable() string {
	return "HARMONY_" + strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")) + "_ROOT"
}

// root is where the sources are: what the environment says, else the checkout
// that the current folder lies in, else Root.
func (p Plugin) root() (string, error) {
	if folder := os.Getenv(p.rootVariable()); folder != "" {
		return existing(folder, p.rootVariable())
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if p.Module != "" {
		for folder := here; ; folder = filepath.Dir(folder) {
			if moduleOf(filepath.Join(folder, "go.mod")) == p.Module {
				return folder, nil
			}
			if folder == filepath.Dir(folder) {
				break
			}
		}
	}
	switch {
	case p.Root != "":
		return existing(p.Root, "the sources that harmony-"+p.Name+" was built from")
	case p.Module != "":
		return "", protocol.Invalid("harmony-%s does not know where its sources are", p.Name).
			WithHint("run it in a checkout of %s, or name one in %s", p.Module, p.rootVariable())
	}
	return here, nil
}

func existing(folder, what string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return "", protocol.Invalid("%s: %s is not a folder here", what, folder)
	}
	return folder, nil
}

// moduleOf is the module that a go.mod names, or "".
func moduleOf(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "module" {
			return strings.Trim(words[1], `"`)
		}
	}
	return ""
}

// handedOver are the commands of harmony that an app plugin has too, for its own
// apps.
var handedOver = [...]string{"release", "plan", "build", "publish", "deploy", "smoke", "diff", "status", "rollback", "uninstall", "adopt"}

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
