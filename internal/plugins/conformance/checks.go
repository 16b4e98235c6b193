package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Documents that require no work from any stage of this protocol.
const (
	unknownKind  = `{"kind":"Weather" , "apiVersion":"harmony.nationtech.io/v1","metadata":{"name":"conformance","extra":1},"spec":{"html":"<&>","é":1e2,"z":[ 1 ]}}`
	newerVersion = `{"apiVersion":"harmony.nationtech.io/v9","kind":"AppSpec","metadata":{"name":"conformance"},"spec":7}`
	unknownField = `{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"conformance","version":"1.2.3"},"spec":{"repository":"conformance","future":{"a":null}},"later":true}`
	topology     = `{"apiVersion":"harmony.nationtech.io/v1","kind":"Topology","metadata":{"name":"conformance"},"spec":{"future":[]}}`
	app          = `{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec","metadata":{"name":"conformance","version":"1.2.3"},"spec":{"projectRoot":"/nonexistent","image":{"dockerfile":{}},"chart":{"path":"chart","image":{"value":"image"}},"smoke":[{"name":"up","rollout":{}}],"future":1}}`
)

// Documents of an app with a second image, or a second place of one, which only the AppSpec
// knows of.
const (
	severalApp   = `{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec","metadata":{"name":"conformance","version":"1.2.3"},"spec":{"projectRoot":"/nonexistent","image":{"dockerfile":{}},"images":{"second":{"dockerfile":{"context":"second"}}},"chart":{"path":"chart"}}}`
	severalImage = `{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"conformance","version":"1.2.3"},"spec":{"repository":"conformance"}}`
	placesApp    = `{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec","metadata":{"name":"conformance","version":"1.2.3"},"spec":{"projectRoot":"/nonexistent","image":{"dockerfile":{}},"chart":{"path":"chart","image":[{"value":"image"},{"value":"second"}]}}}`
	severalChart = `{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"conformance","version":"1.2.3"},"spec":{"path":"/nonexistent.tgz","chart":"conformance","chartVersion":"1.2.3","digest":"","image":{"value":"image"}}}`
)

// failure is one of an earlier stage.
func failure(code int) string {
	return fmt.Sprintf(`{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":"conformance","version":"1.2.3"},"spec":{"stage":"earlier","code":%d,"message":"failed before","future":"x"}}`, code)
}

func stream(documents ...string) string { return strings.Join(documents, "\n") + "\n" }

func describe(ctx context.Context, s *subject) error {
	r, documents, err := s.answer(ctx, "", "describe")
	switch {
	case r.code != 0:
		return fmt.Errorf("it exited with status %d: %s", r.code, excerpt(r.stderr))
	case err != nil:
		return err
	case len(documents) != 1:
		return fmt.Errorf("it printed %d documents", len(documents))
	}
	info, err := protocol.Decode[protocol.PluginInfo](documents[0])
	if err != nil {
		return err
	}
	ours := protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax}
	_, common := ours.Common(info.Protocol)
	switch file := filepath.Base(s.path); {
	case !common:
		return fmt.Errorf("it speaks protocol %d to %d, this kit %d to %d", info.Protocol.Min, info.Protocol.Max, ours.Min, ours.Max)
	case file != "harmony-"+info.Name:
		return fmt.Errorf("it calls itself %q, but the file is %s", info.Name, file)
	case info.Version == "":
		return errors.New("metadata.version is empty")
	case info.Stage == "" && len(info.Apps) == 0:
		return errors.New("it offers neither a stage nor apps")
	}
	return nil
}

func passThrough(ctx context.Context, s *subject) error {
	sent := stream(topology, unknownKind, app, unknownField, newerVersion, failure(1))
	r, err := s.with(ctx, sent)
	if err != nil {
		return err
	}
	rest := r.stdout
	for line := range strings.Lines(sent) {
		at := bytes.Index(rest, []byte(line))
		if at < 0 {
			return fmt.Errorf("%s was not written again in its place", excerpt([]byte(line)))
		}
		rest = rest[at+len(line):]
	}
	return nil
}

func failedApp(ctx context.Context, s *subject) error {
	sent := stream(topology, failure(1), app)
	_, documents, err := s.answer(ctx, sent)
	if err != nil {
		return err
	}
	for _, d := range documents {
		if !strings.Contains(sent, string(d.Bytes())) {
			return fmt.Errorf("it made a %s for an app that had failed", d.Kind)
		}
	}
	return nil
}

// severalImages gives an app with two images, and one with two places for one, to a plugin
// that has to do with images and does not say that it knows of such apps.
func severalImages(ctx context.Context, s *subject) error {
	_, documents, err := s.answer(ctx, "", "describe")
	if err != nil || len(documents) != 1 {
		return err // the check describe says why
	}
	info, err := protocol.Decode[protocol.PluginInfo](documents[0])
	if err != nil {
		return err
	}
	for _, sent := range []struct {
		feature, app string
		spec         protocol.AppSpec
	}{
		{protocol.FeatureImages, severalApp, protocol.AppSpec{Images: map[string]protocol.AppImage{"second": {}}}},
		{protocol.FeatureImagePlaces, placesApp, protocol.AppSpec{Chart: protocol.ChartSource{Image: protocol.ImagePlaces{{}, {}}}}},
	} {
		if info.CheckApp(sent.spec) == nil {
			continue
		}
		r, err := s.with(ctx, stream(topology, sent.app, severalImage, severalChart))
		if err != nil {
			return err
		}
		if r.code != protocol.ExitUnsupported {
			return fmt.Errorf("describe lists no feature %s, and it exited with status %d", sent.feature, r.code)
		}
	}
	return nil
}

func exitStatus(ctx context.Context, s *subject) error {
	for _, code := range []int{protocol.ExitFailed, protocol.ExitInvalid, protocol.ExitUnsupported, protocol.ExitRetryable, protocol.ExitSmoke, 0, 256, -1} {
		r, err := s.with(ctx, stream(topology, failure(code), app))
		if err != nil {
			return err
		}
		if r.code != protocol.ExitCode(protocol.Failure{Code: code}.Err()) {
			return fmt.Errorf("after a Failure with code %d it exited with status %d", code, r.code)
		}
	}
	return nil
}

// ownFailure gives the plugin an app whose project does not exist and a topology that
// provides nothing. A plugin that can work anyway passes.
func ownFailure(ctx context.Context, s *subject) error {
	r, documents, err := s.answer(ctx, stream(topology, app))
	if err != nil {
		return err
	}
	var codes []int
	for _, d := range documents {
		if d.Kind != protocol.KindFailure {
			continue
		}
		f, err := protocol.Decode[protocol.Failure](d)
		if err != nil {
			return err
		}
		switch {
		case f.Message == "" || f.Stage == "":
			return errors.New("its Failure lacks the stage or the message")
		case f.Code < 1 || f.Code > 255:
			return fmt.Errorf("its Failure has the code %d, which is not an exit status", f.Code)
		}
		codes = append(codes, f.Code)
	}
	switch {
	case r.code == 0 && len(codes) > 0:
		return errors.New("it wrote a Failure and exited with status 0")
	case r.code != 0 && !slices.Contains(codes, r.code):
		return fmt.Errorf("it exited with status %d, but its Failure documents have the codes %v", r.code, codes)
	}
	return nil
}

func noInput(ctx context.Context, s *subject) error {
	r, err := s.with(ctx, "")
	if err == nil && r.code == 0 {
		return errors.New("it exited with status 0")
	}
	return err
}

func garbage(ctx context.Context, s *subject) error {
	for _, input := range []string{"hello\n", "{\n", "[]\n", "{}\n", "\xff\xfe\n", `{"apiVersion":"harmony.nationtech.io/v1"}` + "\n"} {
		r, err := s.with(ctx, input)
		if err != nil {
			return fmt.Errorf("%q: %w", input, err)
		}
		switch {
		case r.code != protocol.ExitInvalid:
			return fmt.Errorf("after %q it exited with status %d", input, r.code)
		case !bytes.Contains(r.stdout, []byte(`"Failure"`)):
			return fmt.Errorf("after %q there is no Failure document", input)
		}
	}
	return nil
}

// sized is a document of an unknown kind of that many bytes.
func sized(bytes int) string {
	const head, tail = `{"apiVersion":"harmony.nationtech.io/v1","kind":"Weather","metadata":{"name":"conformance"},"spec":{"text":"`, `"}}`
	return head + strings.Repeat("x", bytes-len(head)-len(tail)) + tail
}

func oversized(ctx context.Context, s *subject) error {
	r, err := s.with(ctx, stream(sized(protocol.MaxDocument+1)))
	if err == nil && r.code != protocol.ExitInvalid {
		return fmt.Errorf("it exited with status %d", r.code)
	}
	return err
}

func large(ctx context.Context, s *subject) error {
	document := sized(protocol.MaxDocument)
	r, err := s.with(ctx, stream(document, app, failure(1)))
	if err != nil {
		return err
	}
	if !bytes.Contains(r.stdout, []byte(document)) {
		return errors.New("it was not written again")
	}
	return nil
}

func closedStdout(ctx context.Context, s *subject) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer writer.Close()
	if err := reader.Close(); err != nil {
		return err
	}
	r, err := s.start(ctx, strings.NewReader(stream(topology, app, failure(1))), writer, nil)
	if err == nil && r.code == 0 {
		return errors.New("it exited with status 0")
	}
	return err
}

func events(_ context.Context, s *subject) error {
	for _, r := range s.seen {
		for line := range bytes.Lines(r.events) {
			d, err := protocol.Parse(line)
			if err != nil {
				return fmt.Errorf("it has %s: %w", excerpt(line), err)
			}
			if d.Kind != protocol.KindEvent {
				return fmt.Errorf("it has a document of kind %s", d.Kind)
			}
		}
	}
	return nil
}

func cleanStdout(_ context.Context, s *subject) error {
	for _, r := range s.seen {
		documents, err := r.documents()
		if err != nil {
			return err
		}
		for _, d := range documents {
			if d.Kind == protocol.KindEvent {
				return errors.New("it has an Event, which belongs on the events channel")
			}
		}
	}
	return nil
}

func secrets(_ context.Context, s *subject) error {
	for _, r := range s.seen {
		for where, text := range map[string][]byte{"stdout": r.stdout, "stderr": r.stderr, "the events": r.events} {
			if bytes.Contains(text, []byte(secret)) {
				return fmt.Errorf("%s contains a password from the environment", where)
			}
		}
	}
	return nil
}

func controlCharacters(ctx context.Context, s *subject) error {
	hostile := strings.Replace(failure(1), "failed before", `\u001b[31mred\u0007`, 1)
	if _, err := s.with(ctx, stream(topology, app, hostile)); err != nil {
		return err
	}
	return controlFree(s)
}

// controlFree looks at what was written to stderr so far.
func controlFree(s *subject) error {
	for _, r := range s.seen {
		for _, c := range string(r.stderr) {
			if unicode.IsControl(c) && c != '\n' && c != '\t' && c != '\r' {
				return fmt.Errorf("stderr has %U", c)
			}
		}
	}
	return nil
}
