package plugintest_test

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony/pkg/plugin/plugintest"
)

// What harmony plugin verify does.
func Example() {
	results, err := plugintest.Verify(context.Background(), "./harmony-that-is-not-there")
	if err != nil {
		fmt.Println("cannot be checked")
		return
	}
	for _, r := range results {
		fmt.Println(r.Check, r.Passed, r.Detail)
	}
	// Output: cannot be checked
}
