package daemon

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Here ssh logs in to a real server, and the docker that it runs there reaches the
// real daemon.
func TestSSHLogsIn(t *testing.T) {
	server := clustertest.StartSSHD(t, "DOCKER_HOST="+clustertest.Docker(t), "PATH=/usr/bin:/bin:/usr/local/bin")
	host := "ssh://" + server.Login
	speaks(t, variables("DOCKER_HOST", host))
	speaks(t, variables("DOCKER_HOST", host+socket(t)))

	server.ReplaceKey()
	_, err := Connect(t.Context(), variables("DOCKER_HOST", host))
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "Permission denied (publickey)") {
		t.Errorf("with a key that the server does not know: %v", err)
	}
}
