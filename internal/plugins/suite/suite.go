// Package suite holds what the binaries of a build share: their version, and the
// names of their commands.
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
	return []string{"completion", "diff", "help", "plan", "plugin", "release", "rollback", "status", "version"}
}

// Plugins lists the plugins that come with harmony, without their prefix.
func Plugins() []string {
	return []string{"build", "chart", "deploy", "monitor", "plugin", "publish", "registry", "smoke"}
}

// Command is a command's usage, and its description in one line.
type Command struct{ Use, Short string }

// PluginCommands are the commands of harmony plugin that harmony-plugin carries out.
func PluginCommands() []Command {
	return []Command{
		{"search [WORD...]", "List the plugins that the indexes offer"},
		{"info NAME[@VERSION]", "Show what an index says about a plugin"},
		{"install NAME[@VERSION]...", "Install plugins from an index"},
		{"upgrade [NAME...]", "Upgrade installed plugins to the newest version"},
		{"uninstall NAME...", "Remove installed plugins, with all their versions"},
		{"rollback NAME", "Go back to the previous version"},
		{"lock [NAME[@VERSION]...]", "Pin the project's plugins in harmony-plugins.lock"},
		{"sync", "Install exactly what harmony-plugins.lock pins, for the project"},
		{"index", "Configure the indexes in which plugins are looked for"},
		{"doctor", "Check PATH, plugins and the lock file for problems"},
		{"new NAME", "Write a new plugin that keeps the contract"},
	}
}

// Folder is the folder of this very file, in which the suite's other binaries
// lie; "" when the system does not tell.
func Folder() string {
	file, err := os.Executable()
	if err != nil {
		return ""
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return ""
	}
	return filepath.Dir(file)
}

// Sibling is the suite's own plugin of that name, beside this very file; one that
// comes earlier on PATH is never taken for it. The error is of status
// protocol.ExitUnsupported when it is not there or not to be trusted.
func Sibling(name string) (discovery.Plugin, error) {
	folder := Folder()
	path := filepath.Join(folder, discovery.Prefix+name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return discovery.Plugin{}, protocol.Unsupported("%s, a part of the suite, is not there", path).
			WithHint("install all binaries of the suite into one folder, as 'make install' does")
	}
	return discovery.Finder{Path: folder, UID: os.Getuid()}.Find(name)
}

// Finder finds the plugins that harmony runs: those on a PATH, and its own where
// they lie beside this very file.
func Finder(path string) discovery.Finder {
	return discovery.Finder{Path: path, BuiltIn: BuiltIn(), UID: os.Getuid(), Own: Plugins(), OwnFolder: Folder()}
}
