package command_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nationtech/harmony/pkg/plugin/command"
)

// The main function of a plugin hands its stage and the process's streams to
// Main, and ends with the status that it returns:
//
//	os.Exit(command.Main(ctx, stage, command.Standard(), os.Args[1:]))
func ExampleMain() {
	streams := command.Streams{In: strings.NewReader(""), Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
	status := command.Main(context.Background(), stage(), streams, []string{"version"})
	fmt.Println("status", status)
	// Output:
	// 1.0.0
	// status 0
}
