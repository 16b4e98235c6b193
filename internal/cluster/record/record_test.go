package record_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"testing"

	"github.com/nationtech/harmony/internal/cluster/record"
)

func pack(t testing.TB, text string) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(packed.Bytes()))
}

func TestUnpack(t *testing.T) {
	const text = `{"name":"shop"}`
	for _, packed := range [][]byte{pack(t, text), []byte(base64.StdEncoding.EncodeToString([]byte(text)))} {
		if got, err := record.Unpack(packed); err != nil || string(got) != text {
			t.Errorf("%s: %s, %v", packed, got, err)
		}
	}
	for _, packed := range []string{"!", "H4sIAAAA"} {
		if got, err := record.Unpack([]byte(packed)); err == nil {
			t.Errorf("%s: %s", packed, got)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(f, `{"name":"shop"}`))
	f.Add([]byte("H4sIAAAA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := record.Unpack(data)
		if err != nil {
			return
		}
		if again, err := record.Unpack(pack(t, string(got))); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%q, then %q, %v", got, again, err)
		}
	})
}
