package term

import (
	"fmt"
	"io"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Tell prints an error with its hint, for a command that ends with it.
func Tell(w io.Writer, err error) {
	fmt.Fprintf(w, "error: %s\n", Clean(err.Error()))
	if hint := protocol.HintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", Clean(hint))
	}
}

// Warn prints what does not end a command.
func Warn(w io.Writer, text string) { fmt.Fprintf(w, "warning: %s\n", Clean(text)) }
