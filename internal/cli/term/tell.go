package term

import (
	"fmt"
	"io"

	"github.com/nationtech/harmony/internal/cli/plain"
)

// Tell prints an error with its hint, for a command that ends with it.
func Tell(w io.Writer, err error) { plain.Tell(w, err) }

// Warn prints what does not end a command.
func Warn(w io.Writer, text string) { fmt.Fprintf(w, "warning: %s\n", Clean(text)) }
