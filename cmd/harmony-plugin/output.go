package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/store"
)

// writeJSON prints a result as json.
func (c *cli) writeJSON(v any) error { return term.WriteJSON(c.stdout, v) }

// results are told one by one as text, or all at the end as json.
type results struct {
	cli  *cli
	list []store.Result
}

// add tells a result.
func (r *results) add(result store.Result) error {
	r.list = append(r.list, result)
	if r.cli.output == "json" {
		return nil
	}
	_, err := fmt.Fprintln(r.cli.stdout, describe(result))
	return err
}

// end writes what is written at the end, also after a failure: what was done is
// done.
func (r *results) end(failed error) error {
	if r.cli.output != "json" {
		return failed
	}
	if r.list == nil {
		r.list = []store.Result{}
	}
	return errors.Join(failed, r.cli.writeJSON(r.list))
}

// describe says a result in words.
func describe(r store.Result) string {
	switch r.Outcome {
	case store.OutcomeUnchanged:
		return fmt.Sprintf("%s %s is installed already", r.Name, r.Version)
	case store.OutcomeUninstalled:
		return strings.TrimSpace("uninstalled " + r.Name + " " + r.Previous)
	case store.OutcomeRolledBack:
		return fmt.Sprintf("rolled %s back from %s to %s", r.Name, r.Previous, r.Version)
	case store.OutcomeUpgraded, store.OutcomeDowngraded:
		return fmt.Sprintf("%s %s from %s to %s", r.Outcome, r.Name, r.Previous, r.Version)
	}
	return fmt.Sprintf("%s %s %s", r.Outcome, r.Name, r.Version)
}

// tell writes a line for people, of what is said besides the result.
func (c *cli) tell(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintln(c.stderr, term.Clean(fmt.Sprintf(format, args...)))
	}
}
