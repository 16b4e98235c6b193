package protocol_test

import (
	"bytes"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// sameAgain fails unless what was read of a document is written and read as the same.
func sameAgain[S protocol.Spec, P protocol.Decodable[S]](t *testing.T, d protocol.Document) {
	t.Helper()
	first, err := protocol.Decode[S, P](d)
	if err != nil {
		return
	}
	written, err := protocol.Encode(first)
	if err != nil {
		return // it has grown over the limit
	}
	read, err := protocol.Parse(written.Bytes())
	if err != nil {
		t.Fatalf("%s: %v", written.Bytes(), err)
	}
	second, err := protocol.Decode[S, P](read)
	if err != nil {
		t.Fatalf("%s: %v", written.Bytes(), err)
	}
	again, err := protocol.Encode(second)
	if err != nil || !bytes.Equal(again.Bytes(), written.Bytes()) {
		t.Errorf("written again: %s, %v\nwant %s", again.Bytes(), err, written.Bytes())
	}
}

func fuzzSpec[S protocol.Spec, P protocol.Decodable[S]](f *testing.F, kind protocol.Kind, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, spec []byte) {
		line := append([]byte(`{"apiVersion":"harmony.nationtech.io/v1","kind":"`+string(kind)+`","metadata":{"name":"shop","version":"1.4.0"},"spec":`), spec...)
		if d, err := protocol.Parse(append(line, '}')); err == nil {
			sameAgain[S, P](t, d)
		}
	})
}

// What a harmony-check-NAME is asked, whatever its settings are.
func FuzzCheckRequest(f *testing.F) {
	fuzzSpec[protocol.CheckRequest](f, protocol.KindCheckRequest,
		`{"check":"orders","type":"sql","target":"production","attempt":1,"timeout":"1m","settings":{"equals":0,"query":"select 1"}}`,
		`{"check":"","type":"","target":"","images":{"a":"b"},"attempt":-1,"timeout":"0s","settings":null}`,
		`{"timeout":"1h1h","settings":{"a":[{"b":1e300}],"<":"\u0000"}}`, `{"Check":"a","check":"b"}`, `[]`)
}

// What a harmony-check-NAME answers, which anybody may have written.
func FuzzCheckAnswer(f *testing.F) {
	fuzzSpec[protocol.CheckAnswer](f, protocol.KindCheckAnswer,
		`{"passed":true,"message":"0 orders","final":true}`, `{"passed":"yes"}`, `{"passed":false,"passed":true}`, `{"message":"\ud800"}`, `null`, `{}}`)
}

// What ran before a deploy.
func FuzzMigrationReport(f *testing.F) {
	fuzzSpec[protocol.MigrationReport](f, protocol.KindMigrationReport,
		`{"target":"staging","adapter":"helm","passed":true,"migrations":[{"name":"schema","status":"done","duration":"1s"}],"summary":"ran 1 migration"}`,
		`{"migrations":null,"planned":1}`, `{"migrations":[{"duration":1}]}`)
}
