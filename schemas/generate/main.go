// Command generate writes the JSON Schemas of every kind of document into the
// folder schemas, and that of a generated chart's values to the chart. It is run
// from the root of the repository, by make generate.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// valuesSchema is where the schema of a generated chart's values is embedded.
const valuesSchema = "internal/chart/workload/files/values.schema.json"

func main() {
	if err := errors.Join(run("schemas"), runValues(valuesSchema)); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run writes every schema into a folder.
func run(folder string) error {
	files, err := generate()
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := write(filepath.Join(folder, name), content); err != nil {
			return err
		}
	}
	return nil
}

func runValues(path string) error {
	content, err := workloadValues()
	if err != nil {
		return err
	}
	return write(path, content)
}

// write replaces a file at once.
func write(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".schema-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(content); err != nil {
		return err
	}
	if err := temporary.Chmod(0o644); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
