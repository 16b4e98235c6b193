package base

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestLargerThanItSays is of a registry that never stops sending a blob.
func TestLargerThanItSays(t *testing.T) {
	sent := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		for block := make([]byte, 64<<10); sent < 1<<30; sent += len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	repository, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/x")
	if err != nil {
		t.Fatal(err)
	}
	r := Registry{Cache: t.TempDir()}
	_, err = r.Blob(t.Context(), repository, ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1000})
	if err == nil || !strings.Contains(err.Error(), "sent more than the 1000 bytes") || sent >= 1<<30 {
		t.Errorf("%v, after %d bytes", err, sent)
	}
}

// TestReadAgain has a reader that fails on what is damaged.
func TestReadAgain(t *testing.T) {
	r := Registry{Cache: t.TempDir()}
	sum := digest.FromString("right")
	fetches := 0
	fetch := func(w io.Writer) error {
		fetches++
		_, err := io.WriteString(w, "right")
		return err
	}
	if err := r.write(sum, func(w io.Writer) error { _, err := io.WriteString(w, "wrong"); return err }); err != nil {
		t.Fatal(err)
	}
	var got []string
	read := func(in io.Reader) error {
		data, err := io.ReadAll(in)
		got = append(got, string(data))
		if string(data) == "wrong" {
			return fmt.Errorf("cannot be understood")
		}
		return err
	}
	if err := r.use(t.Context(), sum, fetch, read); err != nil || fetches != 1 || strings.Join(got, " ") != "wrong right" {
		t.Errorf("%v, fetched %d times, read %q", err, fetches, got)
	}
	// What the reader leaves unread counts as well.
	if err := r.use(t.Context(), sum, fetch, func(io.Reader) error { return io.ErrUnexpectedEOF }); err == nil || fetches != 1 {
		t.Errorf("the reader's own error: %v, fetched %d times", err, fetches)
	}
}
