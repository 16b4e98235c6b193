package daemonless

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/sys/signal"
)

// configure carries out an instruction that changes the configuration only.
func (s *state) configure(command instructions.Command, escape rune) error {
	c := &s.image.Config
	switch i := command.(type) {
	case *instructions.EnvCommand:
		for _, pair := range i.Env {
			s.setEnv(pair.Key, pair.Value)
		}
	case *instructions.LabelCommand:
		for _, pair := range i.Labels {
			put(&c.Labels, pair.Key, pair.Value)
		}
	case *instructions.MaintainerCommand:
		s.image.Author = i.Maintainer
	case *instructions.UserCommand:
		c.User = i.User
	case *instructions.ShellCommand:
		c.Shell = i.Shell
	case *instructions.CmdCommand:
		s.setCmd(i)
	case *instructions.EntrypointCommand:
		s.setEntrypoint(i)
	case *instructions.OnbuildCommand:
		c.OnBuild = append(c.OnBuild, i.Expression)
	case *instructions.HealthCheckCommand:
		c.Healthcheck = i.Health
	case *instructions.StopSignalCommand:
		if _, err := signal.ParseSignal(i.Signal); err != nil {
			return err
		}
		c.StopSignal = i.Signal
	case *instructions.VolumeCommand:
		return s.addVolumes(i.Volumes)
	case *instructions.ExposeCommand:
		return s.expose(i.Ports, escape)
	default:
		return fmt.Errorf("unknown instruction %s", command.Name())
	}
	return nil
}

func (s *state) setCmd(c *instructions.CmdCommand) {
	s.image.Config.Cmd, s.commandOf = s.commandLine(c.ShellDependantCmdLine), true
	//lint:ignore SA1019 BuildKit sets it
	s.image.Config.ArgsEscaped = true
}

func (s *state) setEntrypoint(c *instructions.EntrypointCommand) {
	s.image.Config.Entrypoint = s.commandLine(c.ShellDependantCmdLine)
	if !s.commandOf {
		s.image.Config.Cmd = nil // that of the base belongs to the base's entrypoint
	}
}

func (s *state) addVolumes(paths []string) error {
	for _, path := range paths {
		if path == "" {
			return errors.New("VOLUME: a path is empty")
		}
		put(&s.image.Config.Volumes, path, struct{}{})
	}
	return nil
}

// put sets an entry of a map that may be nil.
func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// commandLine is the exec form, or the shell form with the shell before it.
func (s *state) commandLine(line instructions.ShellDependantCmdLine) []string {
	if !line.PrependShell {
		return line.CmdLine
	}
	shell := s.image.Config.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), strings.Join(line.CmdLine, " "))
}

// expose adds ports, given as port[-port][/protocol].
func (s *state) expose(specs []string, escape rune) error {
	for _, spec := range specs {
		words, err := shell.NewLex(escape).ProcessWords(spec, shell.EnvsFromSlice(s.variables))
		if err != nil {
			return err
		}
		for _, word := range words {
			ports, err := parsePorts(word)
			if err != nil {
				return err
			}
			for _, port := range ports {
				put(&s.image.Config.ExposedPorts, port, struct{}{})
			}
		}
	}
	return nil
}

// parsePorts reads [[ip:]host:]port[-port][/protocol]. The host's part is checked and
// ignored.
func parsePorts(spec string) ([]string, error) {
	bad := fmt.Errorf("EXPOSE %s: a port is 0 to 65535, first-last for several, with /tcp, /udp or /sctp", spec)
	parts := strings.Split(spec, ":")
	numbers, protocol, _ := strings.Cut(parts[len(parts)-1], "/")
	protocol = cmp.Or(strings.ToLower(protocol), "tcp")
	from, to, ok := portRange(numbers)
	if !ok || protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return nil, bad
	}
	if len(parts) > 2 {
		ip := strings.Join(parts[:len(parts)-2], ":")
		if bare, ok := strings.CutPrefix(ip, "["); ok {
			ip = strings.TrimSuffix(bare, "]")
		}
		if ip != "" && net.ParseIP(ip) == nil {
			return nil, bad
		}
	}
	if len(parts) > 1 && parts[len(parts)-2] != "" {
		first, last, ok := portRange(parts[len(parts)-2])
		if !ok || to != from && to-from != last-first {
			return nil, bad
		}
	}
	var ports []string
	for port := from; port <= to; port++ {
		ports = append(ports, fmt.Sprintf("%d/%s", port, protocol))
	}
	return ports, nil
}

// portRange reads port[-port].
func portRange(text string) (from, to int64, ok bool) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseInt(first, 10, 0)
	to, err2 := strconv.ParseInt(last, 10, 0)
	return from, to, err1 == nil && err2 == nil && from >= 0 && from <= to && to <= 65535
}

// cloneImage copies what instructions change in place.
func cloneImage(image dockerspec.DockerOCIImage) dockerspec.DockerOCIImage {
	c := &image.Config
	c.Env = slices.Clone(c.Env)
	c.OnBuild = slices.Clone(c.OnBuild)
	c.Labels = maps.Clone(c.Labels)
	c.Volumes = maps.Clone(c.Volumes)
	c.ExposedPorts = maps.Clone(c.ExposedPorts)
	return image
}
