package dockerfile

import (
	"fmt"
	"strings"
)

// Place is where an instruction is, for a builder that tells only the text of
// it: name:line: instruction, without the line where more than one or none
// begins like it.
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
