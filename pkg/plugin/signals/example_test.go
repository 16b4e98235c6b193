package signals_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func ExampleContext() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(os.Interrupt) // as Ctrl-C does
	}
	<-ctx.Done()
	fmt.Println(ctx.Err(), err)
	// Output: context canceled <nil>
}
