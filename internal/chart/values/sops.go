package values

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// metadataKey is the key under which SOPS keeps its metadata, and ciphertextStart
// the beginning of what it encrypted.
const (
	metadataKey     = "sops"
	ciphertextStart = "ENC[AES256_GCM,"
)

var ciphertextType = regexp.MustCompile(`,type:(\w+)\]$`)

// isEncrypted reports values with the metadata of SOPS. A chart may have values of
// its own under that key.
func isEncrypted(values map[string]any) bool {
	metadata, _ := values[metadataKey].(map[string]any)
	mac, _ := metadata["mac"].(string)
	return mac != "" && metadata["lastmodified"] != nil
}

func isCiphertext(value any) bool {
	text, _ := value.(string)
	return strings.HasPrefix(text, ciphertextStart) && strings.HasSuffix(text, "]")
}

// standIns replaces what is encrypted by something of its type.
func standIns(value any) any {
	switch v := value.(type) {
	case map[string]any:
		made := make(map[string]any, len(v))
		for key, member := range v {
			made[key] = standIns(member)
		}
		return made
	case []any:
		made := make([]any, len(v))
		for i, member := range v {
			made[i] = standIns(member)
		}
		return made
	case string:
		if !isCiphertext(v) {
			return v
		}
		kind := ciphertextType.FindStringSubmatch(v)
		if kind == nil {
			return "encrypted"
		}
		switch kind[1] {
		case "int":
			return int64(1)
		case "float":
			return 1.5
		case "bool":
			return true
		}
		return "encrypted"
	}
	return value
}

// sopsTime is how long sops may take: a key service may be far, or ask a person.
const sopsTime = time.Minute

// The exit statuses of sops that say what is wrong, and how much of what it says
// about keys is shown, in characters.
const (
	noKey       = 128
	macMismatch = 51
	shownOfSOPS = 500
)

// decrypt has sops decrypt the file, from memory to memory.
func (f file) decrypt(ctx context.Context, dir string) (map[string]any, error) {
	program, err := exec.LookPath("sops")
	if err != nil {
		return nil, protocol.Unsupported("%s is encrypted with SOPS, and there is no sops on PATH", f.name).
			WithHint("install sops where harmony deploys, and give it the key")
	}
	format := "yaml"
	if json.Valid(f.data) {
		format = "json"
	}
	bounded, cancel := context.WithTimeout(ctx, sopsTime)
	defer cancel()
	// Nothing but what is about keys is shown of what sops says: of a damaged file it
	// names values.
	stdout, stderr := &process.Buffer{Limit: int(loader.MaxDecompressedFileSize)}, &process.Tail{Limit: 16 << 10}
	err = process.Run(bounded, process.Command{
		Args: []string{program, "--decrypt", "--input-type", format, "--output-type", format, "/dev/stdin"},
		Dir:  dir, Env: process.WithoutRegistry(), Stdin: bytes.NewReader(f.data), Stdout: stdout, Stderr: stderr,
	})
	if err != nil {
		return nil, f.refused(ctx, err, string(stderr.Bytes()))
	}
	values, err := chartutil.ReadValues(stdout.Bytes())
	if err != nil {
		return nil, protocol.Invalid("%s: what sops decrypts it to is not %s", f.name, strings.ToUpper(format))
	}
	return values, nil
}

// refused explains a failure of sops. said is what it wrote to stderr.
func (f file) refused(ctx context.Context, err error, said string) error {
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return protocol.Retryable("%s: sops has not decrypted it after %s", f.name, sopsTime).
			WithHint("see whether its key service can be reached, and whether sops waits for an answer: sops decrypt %s", f.name)
	case exited && exit.ExitCode() == noKey:
		return protocol.Unsupported("%s: sops has no key for it: %s", f.name, term.Excerpt(said, shownOfSOPS)).
			WithHint("give sops a key of the file, by SOPS_AGE_KEY_FILE or as its key service wants it, or add one of this machine to the file: sops updatekeys %s", f.name)
	case exited && exit.ExitCode() == macMismatch:
		return protocol.Invalid("%s was changed after it was encrypted: its MAC does not match", f.name).
			WithHint("restore it and change it with: sops edit %s", f.name)
	case exited:
		return protocol.Invalid("%s: sops cannot decrypt it: %w", f.name, err).WithHint("see why: sops decrypt %s", f.name)
	}
	return fmt.Errorf("%s: sops: %w", f.name, err)
}
