package protocol_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// golden reads every document of testdata, compact, by file name.
func golden(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no documents in testdata (%v)", err)
	}
	documents := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var line bytes.Buffer
		if err := json.Compact(&line, text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		documents[filepath.Base(name)] = line.Bytes()
	}
	return documents
}

// decode decodes a document into the type of its kind.
func decode(t *testing.T, d protocol.Document) protocol.Spec {
	t.Helper()
	var (
		spec protocol.Spec
		err  error
	)
	switch d.Kind {
	case protocol.KindAppSpec:
		spec, err = protocol.Decode[protocol.AppSpec](d)
	case protocol.KindTopology:
		spec, err = protocol.Decode[protocol.Topology](d)
	case protocol.KindImageRef:
		spec, err = protocol.Decode[protocol.ImageRef](d)
	case protocol.KindChartRef:
		spec, err = protocol.Decode[protocol.ChartRef](d)
	case protocol.KindDeployResult:
		spec, err = protocol.Decode[protocol.DeployResult](d)
	case protocol.KindSmokeReport:
		spec, err = protocol.Decode[protocol.SmokeReport](d)
	case protocol.KindFailure:
		spec, err = protocol.Decode[protocol.Failure](d)
	case protocol.KindPluginInfo:
		spec, err = protocol.Decode[protocol.PluginInfo](d)
	case protocol.KindEvent:
		spec, err = protocol.Decode[protocol.Event](d)
	case protocol.KindPipeline:
		spec, err = protocol.Decode[protocol.Pipeline](d)
	case protocol.KindMonitoringResult:
		spec, err = protocol.Decode[protocol.MonitoringResult](d)
	case protocol.KindMigrationReport:
		spec, err = protocol.Decode[protocol.MigrationReport](d)
	case protocol.KindBuildContext:
		spec, err = protocol.Decode[protocol.BuildContext](d)
	case protocol.KindCheckRequest:
		spec, err = protocol.Decode[protocol.CheckRequest](d)
	case protocol.KindCheckAnswer:
		spec, err = protocol.Decode[protocol.CheckAnswer](d)
	default:
		t.Fatalf("no type for kind %s", d.Kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestGoldenRoundTrip(t *testing.T) {
	for name, line := range golden(t) {
		t.Run(name, func(t *testing.T) {
			document, err := protocol.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			if !document.Known() || !bytes.Equal(document.Bytes(), line) {
				t.Errorf("known %t, bytes %s", document.Known(), document.Bytes())
			}
			encoded, err := protocol.Encode(decode(t, document))
			if err != nil {
				t.Fatal(err)
			}
			if got := encoded.Bytes(); !bytes.Equal(got, line) {
				t.Errorf("decoded and encoded again:\n got %s\nwant %s", got, line)
			}
		})
	}
}

// TestGoldenHoldsEveryField keeps the golden documents complete: a field that
// is added to a type is added to a document as well.
func TestGoldenHoldsEveryField(t *testing.T) {
	fields := map[string]bool{} // whether a document has it
	for name, line := range golden(t) {
		document, err := protocol.Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mark(reflect.ValueOf(decode(t, document)), fields)
	}
	for field, found := range fields {
		if !found {
			t.Errorf("no document in testdata has %s", field)
		}
	}
}

// mark notes the fields of a value and whether they are set. The types of nil
// pointers and empty lists are met in another document, or not at all.
func mark(v reflect.Value, fields map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		mark(v.Elem(), fields)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			mark(v.Index(i), fields)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			mark(v.MapIndex(key), fields)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if strings.HasPrefix(field.Tag.Get("json"), "-") {
				continue
			}
			name := v.Type().Name() + "." + field.Name
			fields[name] = fields[name] || !v.Field(i).IsZero()
			mark(v.Field(i), fields)
		}
	}
}

func TestGoldenInputsAreValid(t *testing.T) {
	for name, line := range golden(t) {
		document, err := protocol.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := decode(t, document).(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
