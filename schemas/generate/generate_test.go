package main

import (
	"bytes"
	"io/fs"
	"os"
	"testing"

	"github.com/nationtech/harmony/schemas"
)

func TestSchemasAreCurrent(t *testing.T) {
	t.Chdir("../..")
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range want {
		have, err := schemas.Files.ReadFile(name)
		if err != nil || !bytes.Equal(have, content) {
			t.Errorf("schemas/%s is not what the Go types say: run make generate (%v)", name, err)
		}
	}
	names, err := fs.Glob(schemas.Files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if want[name] == nil {
			t.Errorf("schemas/%s is of no kind any more: remove it", name)
		}
	}
}

func TestValuesSchemaIsCurrent(t *testing.T) {
	t.Chdir("../..")
	want, err := workloadValues()
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(valuesSchema)
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%s is not what the Go types say: run make generate (%v)", valuesSchema, err)
	}
}

func TestWriteReplaces(t *testing.T) {
	folder := t.TempDir()
	t.Chdir("../..")
	for range 2 {
		if err := run(folder); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(folder + "/missing"); err == nil {
		t.Error("writing into a folder that does not exist is no error")
	}
}
