package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// uninstall are the flags of the command.
type uninstall struct {
	project
	all, expired, dryRun, yes bool
}

const uninstallHelp = `Remove apps from a target, and wait until their objects and pods are gone. Apps
that depend on others go first.

What the chart keeps (helm.sh/resource-policy: keep), CustomResourceDefinitions,
namespaces and the volume claims of StatefulSets stay: they are listed, with the
command that deletes them. An app that is not installed is no error. One that
harmony did not deploy is refused.

On edge devices, a tombstone takes the place of what they follow: each removes the app
once it has pulled it, and reports that it is gone. They are waited for as in a deploy.

On a target for previews, the namespace goes with the last of its apps, and with all
that is in it. --expired removes the previews of this project whose time has passed, of
whatever branch. The time stands on the namespace, and the API server's clock counts: it
can be run anywhere, at any time. A preview that is released meanwhile stays.

On a terminal harmony asks first; elsewhere --yes is needed.`

func (t Tools) uninstall() *cobra.Command {
	u := &uninstall{}
	cmd := &cobra.Command{
		Use:   "uninstall APP... | --all | --expired",
		Short: "Remove apps from a target",
		Long:  uninstallHelp,
		Example: `  harmony uninstall fleet-operator --target staging --dry-run
  harmony uninstall fleet-operator --target staging
  harmony uninstall --all --target staging --yes -o json
  harmony uninstall fleet-operator --target shops --yes
  harmony uninstall --expired --target preview --yes`,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if err := u.check(patterns); err != nil {
				return err
			}
			return t.runUninstall(cmd.Context(), u, patterns)
		},
	}
	t.register(cmd, &u.project)
	u.registerOutput(cmd)
	set := cmd.Flags()
	set.BoolVar(&u.all, "all", false, "all apps of harmony.yaml")
	set.BoolVar(&u.expired, "expired", false, "the previews on the target whose time has passed, with all their apps")
	set.BoolVar(&u.dryRun, "dry-run", false, "list what would be removed and kept, and change nothing")
	set.BoolVarP(&u.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (u *uninstall) check(patterns []string) error {
	switch {
	case u.expired && (u.all || len(patterns) > 0):
		return protocol.Invalid("--expired removes previews with all their apps: it takes neither names nor --all")
	case !u.expired && u.all == (len(patterns) > 0):
		return protocol.Invalid("name the apps to uninstall, or say --all")
	}
	return u.checkOutput()
}

func (t Tools) runUninstall(ctx context.Context, u *uninstall, patterns []string) error {
	named := u.project
	if u.expired {
		named.target = "" // which branch this is does not matter
	}
	topology, apps, err := named.read(ctx, patterns)
	if err != nil {
		return err
	}
	target, err := u.oneTarget(topology)
	if err != nil {
		return err
	}
	if err := delivers(topology, "uninstall"); err != nil {
		return err
	}
	if apps, err = capability.Order(apps); err != nil {
		return err
	}
	slices.Reverse(apps) // dependents first
	if !u.dryRun && !u.yes {
		if err := t.confirm("uninstall", "removes", u.what(apps), topology, target); err != nil {
			return err
		}
	}
	console, progress := t.console()
	defer console.Close()
	adapter, err := t.open(ctx, topology, adapterOf(topology), capability.Environment{DryRun: u.dryRun, Progress: progress(target)})
	if err != nil {
		return err
	}
	if u.expired {
		return t.removeExpired(ctx, u, adapter, target, apps)
	}
	return t.removeEach(ctx, u, adapter, target, apps)
}

// what is to be uninstalled, for people.
func (u *uninstall) what(apps []protocol.AppSpec) string {
	if u.expired {
		return "all expired previews"
	}
	return namesOf(apps)
}

// expirer is an adapter that knows previews.
type expirer interface {
	RemoveExpired(ctx context.Context, apps []protocol.AppSpec, target string, each func(protocol.DeployResult) error, warn func(string)) error
}

func (t Tools) removeExpired(ctx context.Context, u *uninstall, adapter delivery.Adapter, target string, apps []protocol.AppSpec) error {
	e, ok := adapter.(expirer)
	if !ok {
		return protocol.Unsupported("the adapter of target %q knows no previews", target)
	}
	removed := 0
	err := e.RemoveExpired(ctx, apps, target, func(r protocol.DeployResult) error {
		removed++
		return t.printRemoved(u.output, target, r)
	}, func(text string) { term.Warn(t.Streams.Err, text) })
	if err == nil && removed == 0 && u.output == "text" {
		_, err = fmt.Fprintf(t.Streams.Out, "nothing on %s has expired\n", target)
	}
	return err
}

// removeEach removes the apps one after the other. What an app depends on stays
// while the app does.
func (t Tools) removeEach(ctx context.Context, u *uninstall, adapter delivery.Adapter, target string, apps []protocol.AppSpec) error {
	var errs []error
	needed := map[string]string{} // by the app that is still there
	for _, app := range apps {
		var result protocol.DeployResult
		var err error
		if by := needed[app.Name]; by != "" {
			err = &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("%s is not uninstalled: %s depends on it, and is still there", app.Name, by)}
		} else {
			result, err = adapter.Remove(ctx, app, target)
		}
		if err != nil {
			for _, dependency := range app.DependsOn {
				needed[dependency] = app.Name
			}
			errs = append(errs, err)
		} else if err := t.printRemoved(u.output, target, result); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return delivery.Together(errs)
}

func namesOf(apps []protocol.AppSpec) string {
	var names []string
	for _, app := range apps {
		names = append(names, app.Name)
	}
	return strings.Join(names, ", ")
}

// confirm asks a person whether a command may do what it does, or fails where there is
// none.
func (t Tools) confirm(command, does, names string, topology protocol.Topology, target string) error {
	if !term.IsTerminal(t.Streams.In) || !term.IsTerminal(t.Streams.Err) {
		return protocol.Invalid("%s asks before it %s %s on %s, and there is no terminal", command, does, names, target).
			WithHint("say --yes, or see what would be done with --dry-run")
	}
	return ask(t.Streams.In, t.Streams.Err, fmt.Sprintf("%s %s on %s (%s)? [y/N] ", strings.ToUpper(command[:1])+command[1:], names, target, place(topology.Targets[target])))
}

// ask fails unless the answer is yes.
func ask(in io.Reader, out io.Writer, question string) error {
	if _, err := fmt.Fprint(out, question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &protocol.Error{Code: protocol.ExitFailed, Message: "not confirmed: nothing was changed"}
}

// place says where a target is.
func place(t protocol.Target) string {
	switch {
	case t.InCluster != nil && t.InCluster.Context != "":
		return "context " + t.InCluster.Context + ", namespace " + t.InCluster.Namespace
	case t.InCluster != nil:
		return "current context, namespace " + t.InCluster.Namespace
	case t.MultiCluster != nil:
		return "several clusters, namespace " + t.MultiCluster.Namespace
	}
	return "edge devices"
}

// printRemoved prints the end of an uninstall: in text with what would go, where
// nothing is changed, and with what stays and the commands that delete it.
func (t Tools) printRemoved(output, target string, r protocol.DeployResult) error {
	if output == "json" {
		return protocol.NewWriter(t.Streams.Out).WriteSpec(r)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s on %s: %s\n", r.Name, target, term.Describe(r))
	keeps := "keeps"
	if r.Planned {
		keeps = "would keep"
		for _, o := range r.Removed {
			fmt.Fprintf(&text, "  would delete %s\n", o)
		}
	}
	for _, o := range r.Kept {
		fmt.Fprintf(&text, "  %s %s\n", keeps, o)
	}
	if r.Published != nil {
		text.WriteString(notGone(*r.Published))
	} else if !r.Planned {
		if i := slices.IndexFunc(r.Removed, func(o protocol.ObjectRef) bool { return o.Resource == "namespace" }); i >= 0 {
			fmt.Fprintf(&text, "  deleted %s\n", r.Removed[i])
		}
		for _, command := range commands(r.Kept) {
			fmt.Fprintf(&text, "  delete with: %s\n", command)
		}
	}
	_, err := io.WriteString(t.Streams.Out, term.Clean(text.String()))
	return err
}

// toldDevices is how many devices are named that an app is not gone from.
const toldDevices = 10

// notGone are the devices that an app is not gone from, a line each. Nothing here reaches
// them.
func notGone(p protocol.PublishedState) string {
	var lines []string
	for _, d := range p.Devices {
		if d.State == protocol.DeviceGone {
			continue
		}
		line := "device " + d.Device + ": " + string(d.State)
		if d.Message != "" {
			line += ", " + d.Message
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimPrefix(term.Listed(lines, toldDevices), "\n") + "\n"
}

// commands delete objects, one for each namespace of each cluster.
func commands(objects []protocol.ObjectRef) []string {
	var list []string
	at := map[string]int{}
	for _, o := range objects {
		command := "kubectl delete"
		if o.Context != "" {
			command += " --context " + o.Context
		}
		if o.Namespace != "" {
			command += " --namespace " + o.Namespace
		}
		i, known := at[command]
		if !known {
			i = len(list)
			at[command] = i
			list = append(list, command)
		}
		list[i] += " " + o.String()
	}
	return list
}
