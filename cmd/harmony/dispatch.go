package main

import (
	"os"
	"syscall"

	"github.com/nationtech/harmony/pkg/protocol"
)

// dispatch replaces this process by the plugin's: its signals and its exit
// status are then the plugin's own. It returns only when that fails.
func dispatch(name string, args []string) error {
	plugin, err := finder().Find(name)
	if err != nil {
		return err
	}
	err = syscall.Exec(plugin.Path, append([]string{plugin.Path}, args...), os.Environ())
	return protocol.Unsupported("run %s: %w", plugin.Path, err)
}
