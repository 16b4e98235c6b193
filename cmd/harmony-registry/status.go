package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/registry/server"
	"github.com/nationtech/harmony/pkg/protocol"
)

// errNotRunning is the exit status of status, which has told it already.
var errNotRunning = errors.New("registry is not running")

func (c *cli) status() *cobra.Command {
	cmd := c.subcommand("status", "Tell whether the registry runs; exit status 1 when it does not", func(context.Context) error {
		if c.output != "text" && c.output != "json" {
			return protocol.Invalid("--output %q is neither text nor json", c.output)
		}
		status, err := server.Look(c.folder)
		if err != nil {
			return err
		}
		if err := status.Measure(); err != nil {
			return err
		}
		if err := c.print(status); err != nil {
			return err
		}
		if !status.Running {
			return errNotRunning
		}
		return nil
	})
	cmd.Flags().StringVarP(&c.output, "output", "o", "text", "json or text")
	return cmd
}

func (c *cli) print(status server.Status) error {
	if c.output == "json" {
		return json.NewEncoder(c.stdout).Encode(status)
	}
	state := "registry is not running"
	if status.Running {
		state = fmt.Sprintf("registry at %s, process %d", status.Address, status.PID)
	}
	_, err := fmt.Fprintf(c.stdout, "%s, %s in %s\n", state, term.Bytes(status.DataBytes), status.Data)
	return err
}
