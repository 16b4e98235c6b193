package oci

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// maxMemory is the bound of a push, in bytes, however large the image is.
const maxMemory = 64 << 20

// The memory of a push is that of its buffers.
func TestPushMemoryIsFlat(t *testing.T) {
	if url := os.Getenv("HARMONY_TEST_MEMORY_OF_PUSH_TO"); url != "" {
		child(t, url)
		// Not getrusage: that of a child starts with what its parent has.
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Skip("this system does not tell")
		}
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		fmt.Println("PEAK", strings.Fields(rest)[0], "KIB")
		return
	}
	if testing.Short() {
		t.Skip("512 MiB are much")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := debianRegistry(t)
	image := large(t, 8, 64<<20)
	cmd := exec.Command(self, "-test.run=^TestPushMemoryIsFlat$")
	cmd.Env = append(os.Environ(), "HARMONY_TEST_MEMORY_OF_PUSH_TO="+host, "HARMONY_TEST_LAYOUT="+image.Path, "HARMONY_TEST_DIGEST="+image.Digest)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var peak int64
	_, rest, _ := strings.Cut(string(out), "PEAK")
	if _, err := fmt.Sscanf(rest, "%d KIB", &peak); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("peak memory %d MiB", peak>>10)
	if peak<<10 > maxMemory {
		t.Errorf("a push of 512 MiB took %d MiB of memory, want at most %d", peak>>10, maxMemory>>20)
	}
	ref, err := name.ParseReference(host + "/fleet/operator:1.4.0")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := remote.Head(ref); err != nil || got.Digest.String() != image.Digest {
		t.Errorf("the registry holds %v, %v", got, err)
	}
}
