package protocol_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

func ExampleParseImageRef() {
	ref, err := protocol.ParseImageRef("registry.example.com:5000/fleet/operator:1.4.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ref.Registry, ref.Repository, ref.Tag)
	fmt.Println(ref)
	// Output:
	// registry.example.com:5000 fleet/operator 1.4.0
	// registry.example.com:5000/fleet/operator:1.4.0
}

func ExampleWriter() {
	out := protocol.NewWriter(os.Stdout)
	err := out.WriteSpec(protocol.ImageRef{
		Metadata:   protocol.Metadata{Name: "fleet-operator", Version: "1.4.0"},
		Registry:   "localhost:5001",
		Repository: "fleet/operator",
		Tag:        "1.4.0",
		Location:   protocol.InRegistry,
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"fleet-operator","version":"1.4.0"},"spec":{"registry":"localhost:5001","repository":"fleet/operator","tag":"1.4.0","location":"registry"}}
}

// A stage forwards what it does not know, byte for byte, and reads the rest.
func ExampleReader() {
	in := protocol.NewReader(strings.NewReader(`
{"apiVersion":"harmony.nationtech.io/v1","kind":"Weather","spec":{"sky":"blue"}}
{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"hello"},"spec":{"repository":"hello","tag":"1.0.0"}}
`))
	for {
		document, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		if document.Kind != protocol.KindImageRef {
			fmt.Printf("%s\n", document.Bytes())
			continue
		}
		image, err := protocol.Decode[protocol.ImageRef](document)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("image of", image.Name, "is", image)
	}
	// Output:
	// {"apiVersion":"harmony.nationtech.io/v1","kind":"Weather","spec":{"sky":"blue"}}
	// image of hello is hello:1.0.0
}

func ExampleError() {
	err := protocol.Retryable("push %s: %w", "fleet/operator", errors.New("503 Service Unavailable")).
		WithHint("run it again")
	fmt.Println(err)
	fmt.Println(protocol.ExitCode(err), protocol.HintOf(err))
	// Output:
	// push fleet/operator: 503 Service Unavailable
	// 4 run it again
}

func ExampleAppSpec_Validate() {
	app := protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "hello"},
		Chart:    protocol.ChartSource{Path: "../chart", Image: protocol.ImagePlaces{{Value: "image"}}},
	}
	fmt.Println(app.Validate())
	// Output:
	// spec.chart.path: "../chart" leads out of the project: a path is relative and does not climb with ..
	// spec.image: needs dockerfile, buildable or ref
}
