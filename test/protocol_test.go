package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
	"github.com/nationtech/harmony/schemas"
)

// specification is docs/protocol.md, which has to say what the code does.
func specification(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is the part below a heading, up to the next one of its level.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	level, _, _ := strings.Cut(heading, " ")
	_, rest, ok := strings.Cut(text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("docs/protocol.md has no %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n"+level+" ")
	return rest
}

// fieldsOf are the fields of a kind's spec by its schema, and whether each is
// always there.
func fieldsOf(t *testing.T, kind string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../schemas", kind+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any
			Required   []string
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for name := range schema.Defs[kind].Properties {
		fields[name] = slices.Contains(schema.Defs[kind].Required, name)
	}
	return fields
}

func TestSpecificationHasEveryKindAndField(t *testing.T) {
	text := specification(t)
	schemas, err := filepath.Glob("../schemas/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range schemas {
		kind := strings.TrimSuffix(filepath.Base(file), ".json")
		if !(protocol.Document{APIVersion: protocol.APIVersion, Kind: protocol.Kind(kind)}).Known() {
			continue
		}
		if !strings.Contains(text, fmt.Sprintf("| [`%s`](#%s) |", kind, strings.ToLower(kind))) {
			t.Errorf("the table of kinds has no %s", kind)
		}
		told := map[string]bool{}
		for line := range strings.Lines(section(t, text, "### "+kind)) {
			if !strings.HasPrefix(line, "| ") {
				continue
			}
			column := strings.Split(line, "|")[1]
			for _, match := range regexp.MustCompile("(\\**)`([a-zA-Z]+)`").FindAllStringSubmatch(column, -1) {
				told[match[2]] = match[1] != ""
			}
		}
		if want := fieldsOf(t, kind); !maps.Equal(told, want) {
			t.Errorf("%s has the fields %v (true: always there), the document tells of %v", kind, want, told)
		}
	}
}

func TestSpecificationHasEveryStatus(t *testing.T) {
	var told []string
	for line := range strings.Lines(section(t, specification(t), "## Exit status")) {
		if match := regexp.MustCompile(`^\| ([0-9]+) \|`).FindStringSubmatch(line); match != nil {
			told = append(told, match[1])
		}
	}
	want := fmt.Sprint([]int{
		protocol.ExitOK, protocol.ExitFailed, protocol.ExitInvalid, protocol.ExitUnsupported,
		protocol.ExitRetryable, protocol.ExitSmoke, protocol.ExitInterrupted,
	})
	if fmt.Sprint(told) != want {
		t.Errorf("the table has %v, want %s", told, want)
	}
}

func TestSpecificationHasTheNumbers(t *testing.T) {
	text := specification(t)
	for _, number := range []string{
		fmt.Sprintf("version %d\n", protocol.ProtocolMax),
		fmt.Sprintf("at most %d bytes", protocol.MaxDocument),
		"`" + protocol.APIVersion + "`",
	} {
		if !strings.Contains(text, number) {
			t.Errorf("no %q", number)
		}
	}
}

// The documents in it, and in the guides for who writes plugins, are documents.
func TestExamplesOfDocuments(t *testing.T) {
	found := 0
	for _, file := range []string{"protocol.md", "writing-a-plugin.md", "buildables.md"} {
		for _, block := range blocksOf(t, "../docs/"+file, "json") {
			documents := json.NewDecoder(strings.NewReader(block))
			for documents.More() {
				var document json.RawMessage
				err := documents.Decode(&document)
				if err == nil {
					err = schemas.Validate(document)
				}
				if err != nil {
					t.Fatalf("%s: %v\n%s", file, err, block)
				}
				found++
			}
		}
	}
	if found < 4 {
		t.Errorf("%d documents were found", found)
	}
}

func TestSpecificationNamesEveryVector(t *testing.T) {
	text := section(t, specification(t), "## Test vectors")
	files, err := filepath.Glob("../pkg/protocol/testdata/vectors/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors (%v)", err)
	}
	for _, file := range files {
		if !strings.Contains(text, "`vectors/"+filepath.Base(file)+"`") {
			t.Errorf("it does not name %s", file)
		}
	}
}

// Links within the guides lead somewhere.
func TestLinksOfTheGuides(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\]\(([A-Za-z0-9_./-]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join("../docs", match[1])); err != nil {
				t.Errorf("%s links to %s: %v", file, match[1], err)
			}
		}
	}
}
