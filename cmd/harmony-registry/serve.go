package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/registry/server"
)

func (c *cli) serve() *cobra.Command {
	return c.listening(c.subcommand("serve", "Run the registry in the foreground", func(ctx context.Context) error {
		c.warn()
		return server.Serve(ctx, c.folder, c.options, c.stderr)
	}))
}

func (c *cli) up() *cobra.Command {
	return c.listening(c.subcommand("up", "Start the registry in the background, unless it runs", func(ctx context.Context) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c.warn()
		status, err := server.Up(ctx, c.folder, c.options, self, "serve")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "registry at %s, process %d, storage in %s\n", status.Address, status.PID, status.Data)
		return err
	}))
}

func (c *cli) down() *cobra.Command {
	return c.subcommand("down", "End the registry; its storage stays", func(ctx context.Context) error {
		pid, err := server.Down(ctx, c.folder)
		switch {
		case err != nil:
			return err
		case pid == 0:
			_, err = fmt.Fprintln(c.stdout, "registry is not running")
		default:
			_, err = fmt.Fprintf(c.stdout, "registry ended, process %d\n", pid)
		}
		return err
	})
}

func (c *cli) warn() {
	if c.options.AllowRemote {
		fmt.Fprintln(c.stderr, "warning: the registry knows no accounts: whoever reaches it can push and delete")
	}
}
