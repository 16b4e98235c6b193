package protocol_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The vectors in testdata/vectors belong to the specification, docs/protocol.md:
// an implementation in another language reads them as these tests do.

type documentVector struct {
	Name, Line, Hex, Kind string
	Metadata              protocol.Metadata
	Known, Error          bool
}

func (v documentVector) check(t *testing.T) {
	line := []byte(v.Line)
	if v.Hex != "" {
		var err error
		if line, err = hex.DecodeString(v.Hex); err != nil {
			t.Fatal(err)
		}
	}
	d, err := protocol.Parse(line)
	if (err != nil) != v.Error {
		t.Fatalf("error %v, want one: %t", err, v.Error)
	}
	if err == nil && (string(d.Kind) != v.Kind || d.Metadata != v.Metadata || d.Known() != v.Known || !bytes.Equal(d.Bytes(), line)) {
		t.Errorf("kind %s, metadata %+v, known %t, bytes %s", d.Kind, d.Metadata, d.Known(), d.Bytes())
	}
}

type streamVector struct {
	Name, Stream string
	// Pad is how many times x stands in the place of PAD.
	Pad         int
	Kinds       []string
	ErrorInLine int
}

func (v streamVector) check(t *testing.T) {
	reader := protocol.NewReader(strings.NewReader(strings.Replace(v.Stream, "PAD", strings.Repeat("x", v.Pad), 1)))
	kinds := []string{}
	for {
		d, err := reader.Next()
		if err == nil {
			kinds = append(kinds, string(d.Kind))
			continue
		}
		if !slices.Equal(kinds, v.Kinds) {
			t.Errorf("kinds %v, want %v", kinds, v.Kinds)
		}
		line, _, _ := strings.Cut(err.Error(), ":")
		if want := "line " + strconv.Itoa(v.ErrorInLine); v.ErrorInLine > 0 && line != want {
			t.Errorf("error %v, want one in %s", err, want)
		}
		if ended := errors.Is(err, io.EOF); ended != (v.ErrorInLine == 0) {
			t.Errorf("error %v", err)
		}
		return
	}
}

type versionVector struct {
	Name               string
	Dispatcher, Plugin protocol.ProtocolRange
	Common             int
}

func (v versionVector) check(t *testing.T) {
	common, ok := v.Dispatcher.Common(v.Plugin)
	if ok != (v.Common > 0) || ok && common != v.Common {
		t.Errorf("common %d, %t", common, ok)
	}
}

type statusVector struct {
	Name   string
	Codes  []int
	Status int
}

func (v statusVector) check(t *testing.T) {
	if got := protocol.WorstCode(v.Codes...); got != v.Status {
		t.Errorf("status %d", got)
	}
	slices.Reverse(v.Codes)
	if got := protocol.WorstCode(v.Codes...); got != v.Status {
		t.Errorf("status %d in the other order", got)
	}
}

type imageVector struct {
	Name, Text, Registry, Repository, Tag, Digest string
	Error                                         bool
}

func (v imageVector) check(t *testing.T) {
	ref, err := protocol.ParseImageRef(v.Text)
	if (err != nil) != v.Error {
		t.Fatalf("error %v, want one: %t", err, v.Error)
	}
	if err != nil {
		return
	}
	if ref.Registry != v.Registry || ref.Repository != v.Repository || ref.Tag != v.Tag || ref.Digest != v.Digest || ref.String() != v.Text {
		t.Errorf("read as %+v, written as %s", ref, ref)
	}
}

type durationVector struct {
	Name, Text  string
	Nanoseconds int64
	Error       bool
}

func (v durationVector) check(t *testing.T) {
	var d protocol.Duration
	err := d.UnmarshalText([]byte(v.Text))
	if (err != nil) != v.Error || err == nil && time.Duration(d) != time.Duration(v.Nanoseconds) {
		t.Errorf("%s, error %v", time.Duration(d), err)
	}
}

type referenceVector struct {
	Name, Text, Env, File string
	Error                 bool
}

func (v referenceVector) check(t *testing.T) {
	ref, err := protocol.ParseReference(v.Text)
	if (err != nil) != v.Error || ref != (protocol.Reference{Env: v.Env, File: v.File}) {
		t.Errorf("%+v, error %v", ref, err)
	}
	if _, value, _ := strings.Cut(v.Text, ":"); err != nil && value != "" && strings.Contains(err.Error(), value) {
		t.Errorf("the error tells what may be the secret: %v", err)
	}
}

type validityVector struct {
	Name     string
	Document json.RawMessage
	Problems []string
}

func (v validityVector) check(t *testing.T) {
	var line bytes.Buffer
	if err := json.Compact(&line, v.Document); err != nil {
		t.Fatal(err)
	}
	d, err := protocol.Parse(line.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var found protocol.FieldErrors
	errors.As(decode(t, d).(interface{ Validate() error }).Validate(), &found)
	fields := []string{}
	for _, f := range found {
		fields = append(fields, f.Field)
	}
	if !slices.Equal(fields, v.Problems) {
		t.Errorf("problems at %v:\n%v", fields, found)
	}
}

// checkAll reads a file of vectors and checks each.
func checkAll[V any](check func(V, *testing.T)) func(*testing.T, []byte) {
	return func(t *testing.T, text []byte) {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		var vectors []V
		if err := decoder.Decode(&vectors); err != nil || len(vectors) == 0 {
			t.Fatalf("%d vectors: %v", len(vectors), err)
		}
		var names []struct{ Name string }
		if err := json.Unmarshal(text, &names); err != nil {
			t.Fatal(err)
		}
		for i, v := range vectors {
			t.Run(names[i].Name, func(t *testing.T) { check(v, t) })
		}
	}
}

func TestVectors(t *testing.T) {
	checks := map[string]func(*testing.T, []byte){
		"documents.json":  checkAll(documentVector.check),
		"streams.json":    checkAll(streamVector.check),
		"versions.json":   checkAll(versionVector.check),
		"statuses.json":   checkAll(statusVector.check),
		"images.json":     checkAll(imageVector.check),
		"durations.json":  checkAll(durationVector.check),
		"references.json": checkAll(referenceVector.check),
		"validity.json":   checkAll(validityVector.check),
		"stages.json":     nil, // for a stage: package plugin reads it
	}
	files, err := filepath.Glob("testdata/vectors/*")
	if err != nil || len(files) != len(checks) {
		t.Fatalf("files %v (%v), want one for each of %d checks", files, err, len(checks))
	}
	for _, file := range files {
		check, ok := checks[filepath.Base(file)]
		if !ok {
			t.Errorf("nothing checks %s", file)
		}
		if check == nil {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			check(t, text)
		})
	}
}
