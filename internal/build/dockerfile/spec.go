package dockerfile

import (
	"fmt"
	"strings"
)

// Context is a Dockerfile with what it is built from.
type Context struct {
	// Name is how messages call the Dockerfile: its path in the project.
	Name string
	// Text is the content of the Dockerfile.
	Text []byte
	// Dockerfile is the file, and Dir the context folder; both absolute. The file
	// Dockerfile.dockerignore, else .dockerignore in Dir, names what is not in
	// the context.
	Dockerfile, Dir string
	// Target is the stage to build; the last when empty.
	Target string
	// Args are the build arguments.
	Args map[string]string
	// Contexts are named contexts: a folder (absolute) or
	// docker-image://NAME.
	Contexts map[string]string
	// Secrets and SSH are what RUN can mount.
	Secrets []Secret
	SSH     []SSH
	// SBOMs say what is in the image, for platforms; they go next to it.
	SBOMs []SBOM
}

// SBOM is an SPDX document, as JSON, about the image of a platform, os/arch or
// os/arch/variant.
type SBOM struct {
	Platform string
	SPDX     []byte
}

// Secret is one that RUN --mount=type=secret,id=ID can read. Its value is read
// where it is when the build asks for it.
type Secret struct {
	ID string
	// Env is an environment variable, or File an absolute path.
	Env, File string
}

// SSH is an agent or keys that RUN --mount=type=ssh,id=ID can use.
type SSH struct {
	ID string
	// Paths of agent sockets or private keys; SSH_AUTH_SOCK when empty.
	Paths []string
}

// Place is name:line: instruction, for a builder that reports only the text of the
// instruction. The line is left out unless exactly one begins like it.
func (c Context) Place(instruction string) string {
	line := 0
	for i, text := range strings.Split(string(c.Text), "\n") {
		text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), `\`))
		if text == "" || !strings.HasPrefix(instruction, text) {
			continue
		}
		if line != 0 {
			line = 0
			break
		}
		line = i + 1
	}
	if line == 0 {
		return c.Name + ": " + instruction
	}
	return fmt.Sprintf("%s:%d: %s", c.Name, line, instruction)
}
