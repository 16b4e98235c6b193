package scan

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// instruction is one instruction of a Dockerfile, its lines joined.
type instruction struct {
	line       int
	word, rest string
}

// instructions splits a Dockerfile. Here-documents are left out.
func instructions(data []byte) []instruction {
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	escape := `\`
	if match := regexp.MustCompile("(?i)^\\s*#\\s*escape\\s*=\\s*`").FindString(lines[0]); match != "" {
		escape = "`"
	}
	heredoc := regexp.MustCompile(`<<-?["']?([A-Za-z_][A-Za-z0-9_]*)["']?`)
	var list []instruction
	for i := 0; i < len(lines); i++ {
		begin, joined := i, ""
		for ; i < len(lines); i++ {
			trimmed := strings.TrimSpace(lines[i])
			if strings.HasPrefix(trimmed, "#") || trimmed == "" && joined != "" {
				continue // also between the lines of one instruction
			}
			part, more := strings.CutSuffix(trimmed, escape)
			joined += part + " "
			if !more {
				break
			}
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(joined), " ")
		if word == "" {
			continue
		}
		list = append(list, instruction{begin + 1, strings.ToUpper(word), strings.TrimSpace(rest)})
		for _, match := range heredoc.FindAllStringSubmatch(rest, -1) {
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != match[1]; i++ {
			}
		}
	}
	return list
}

// parseDockerfile reads what init needs to know of a Dockerfile.
func parseDockerfile(name string, data []byte) dockerfile {
	var file dockerfile
	global := map[string]string{}
	for _, in := range instructions(data) {
		if in.word == "FROM" {
			file.stages = append(file.stages, file.from(in, global))
			continue
		}
		if len(file.stages) == 0 {
			if in.word == "ARG" {
				define(global, in.rest, global)
			}
			continue
		}
		current := &file.stages[len(file.stages)-1]
		switch in.word {
		case "ARG", "ENV":
			define(current.env, in.rest, global)
		case "USER":
			current.user, current.userLine = current.expand(in.rest), in.line
			if !regexp.MustCompile(`^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)?$`).MatchString(current.user) {
				current.open = append(current.open, Note{name, in.line, "USER " + in.rest + " is not understood"})
				current.user = ""
			}
		case "EXPOSE":
			current.expose(name, in)
		case "COPY", "ADD":
			file.sources = append(file.sources, copied(in.rest)...)
		}
	}
	return file
}

// from is the stage that a FROM begins.
func (f dockerfile) from(in instruction, global map[string]string) stage {
	words := slices.DeleteFunc(strings.Fields(in.rest), func(w string) bool { return strings.HasPrefix(w, "--") })
	next := stage{env: map[string]string{}}
	if len(words) > 0 {
		base := expand(words[0], global)
		for _, s := range f.stages {
			if s.name != "" && strings.EqualFold(s.name, base) {
				next = s
				next.ports, next.open, next.env = slices.Clone(s.ports), slices.Clone(s.open), maps.Clone(s.env)
			}
		}
		if strings.HasSuffix(base, ":nonroot") || strings.Contains(base, ":nonroot-") {
			next.user, next.userLine = "nonroot", in.line
		}
	}
	next.name = ""
	if len(words) == 3 && strings.EqualFold(words[1], "AS") {
		next.name = words[2]
	}
	return next
}

func (s *stage) expand(text string) string { return expand(text, s.env) }

func expand(text string, values map[string]string) string {
	return os.Expand(text, func(name string) string {
		name, otherwise, _ := strings.Cut(name, ":-")
		if value := values[name]; value != "" {
			return value
		}
		return otherwise
	})
}

// define notes the variables of an ARG or ENV. An ARG without a value has the one that
// it has before the first FROM.
func define(values map[string]string, rest string, global map[string]string) {
	words := strings.Fields(rest)
	if len(words) == 2 && !strings.Contains(words[0], "=") { // ENV name value
		words = []string{words[0] + "=" + words[1]}
	}
	for _, word := range words {
		name, value, given := strings.Cut(word, "=")
		if !given {
			value = global[name]
		}
		values[name] = expand(strings.Trim(value, `"'`), values)
	}
}

// expose notes the ports of an EXPOSE.
func (s *stage) expose(file string, in instruction) {
	for _, word := range strings.Fields(in.rest) {
		number, protocolName, _ := strings.Cut(s.expand(word), "/")
		port, err := strconv.Atoi(number)
		if err != nil || port < 1 || port > 65535 {
			s.open = append(s.open, Note{file, in.line, "EXPOSE " + word + " is not understood"})
			continue
		}
		s.ports, s.portLine = addPort(s.ports, port, protocolName), in.line
	}
}

// addPort adds a port with a name: the first one is http, as most are.
func addPort(ports []protocol.WorkloadPort, port int, protocolName string) []protocol.WorkloadPort {
	added := protocol.WorkloadPort{Name: "http", Port: port}
	if name := strings.ToUpper(protocolName); name == "UDP" || name == "SCTP" {
		added.Protocol, added.Name = name, fmt.Sprintf("%s-%d", strings.ToLower(name), port)
	}
	for _, p := range ports {
		if p.Port == port && p.Protocol == added.Protocol {
			return ports
		}
		if p.Name == added.Name {
			added.Name = fmt.Sprintf("port-%d", port)
		}
	}
	return append(ports, added)
}

// copied are the sources of a COPY or ADD that come from the context and have plain
// names.
func copied(rest string) []string {
	words := strings.Fields(strings.NewReplacer("[", " ", "]", " ", `"`, " ", ",", " ").Replace(rest))
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		if strings.HasPrefix(words[0], "--from=") {
			return nil
		}
		words = words[1:]
	}
	if len(words) < 2 {
		return nil
	}
	return slices.DeleteFunc(words[:len(words)-1], func(w string) bool {
		return strings.ContainsAny(w, "$:<") || strings.HasPrefix(w, "..") || strings.HasPrefix(w, "git@")
	})
}
