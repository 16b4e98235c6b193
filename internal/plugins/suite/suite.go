// Package suite has the version and the commands that the binaries of a build share.
package suite

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// version is set by the linker: -X github.com/nationtech/harmony/internal/plugins/suite.version=1.4.0
var version string

// Version is the suite's version: the one given at link time, else that of the
// module that go install built, else 0.0.0-dev.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && len(info.Main.Version) > 1 && info.Main.Version[0] == 'v' {
		return info.Main.Version[1:]
	}
	return "0.0.0-dev"
}

// BuiltIn lists the commands of harmony itself, which no plugin can replace.
func BuiltIn() []string {
	return []string{"adopt", "affected", "changelog", "completion", "diff", "help", "init", "lock", "plan", "plugin", "release", "rollback", "rollout", "status", "uninstall", "version"}
}

// Plugins lists the plugins that come with harmony, without their prefix.
func Plugins() []string {
	return []string{"build", "chart", "deploy", "devices", "monitor", "plugin", "publish", "registry", "smoke"}
}

// Command is a command's usage, and its description in one line.
type Command struct{ Use, Short string }

// PluginCommands are the commands of 'harmony plugin' that harmony-plugin implements.
func PluginCommands() []Command {
	return []Command{
		{"search [WORD...]", "List the plugins that the indexes offer"},
		{"info NAME[@VERSION]", "Show a plugin of an index"},
		{"install NAME[@VERSION]...", "Install plugins from an index"},
		{"upgrade [NAME...]", "Upgrade installed plugins to the newest version"},
		{"uninstall NAME...", "Remove installed plugins, with all their versions"},
		{"rollback NAME", "Go back to the previous version"},
		{"lock [NAME[@VERSION]...]", "Pin the project's plugins in harmony-plugins.lock"},
		{"sync", "Install exactly the plugins in harmony-plugins.lock, for the project"},
		{"index", "Configure the indexes that offer plugins"},
		{"doctor", "Check PATH, plugins and the lock file for problems"},
		{"new NAME", "Write a new plugin that keeps the contract"},
	}
}

// Folder is the folder of this executable and of the suite's other binaries; "" when
// it is unknown.
func Folder() string {
	file, err := os.Executable()
	if err == nil {
		file, err = filepath.EvalSymlinks(file)
	}
	if err != nil {
		return ""
	}
	return filepath.Dir(file)
}

// Sibling is the suite's own plugin of that name, next to this executable, whatever
// comes first on PATH. If it is missing or not trusted, the error is of status
// protocol.ExitUnsupported.
func Sibling(name string) (discovery.Plugin, error) {
	folder := Folder()
	path := filepath.Join(folder, discovery.Prefix+name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return discovery.Plugin{}, protocol.Unsupported("%s, part of the suite, is missing", path).
			WithHint("install all binaries of the suite into one folder, as 'make install' does")
	}
	return discovery.Finder{Path: folder, UID: os.Getuid()}.Find(name)
}

// Finder finds the plugins that harmony runs: those on a PATH, and its own next to
// this executable.
func Finder(path string) discovery.Finder {
	return discovery.Finder{Path: path, BuiltIn: BuiltIn(), UID: os.Getuid(), Own: Plugins(), OwnFolder: Folder()}
}
