package protocol

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// unmarshal is json.Unmarshal for readers that must agree on what a document
// says: field names are matched exactly, where encoding/json takes REPOSITORY
// for repository, and an object with two fields of one name is an error, where
// it takes the last.
func unmarshal(text []byte, into any) error {
	if !json.Valid(text) {
		return json.Unmarshal(text, into) // says where
	}
	s := exact{text: text}
	if err := s.value(reflect.TypeOf(into)); err != nil {
		return err
	}
	if s.cleaned != nil {
		text = s.cleaned
	}
	return json.Unmarshal(text, into)
}

// exact walks valid JSON together with the type that it is read into. What no type
// says anything about is only searched for duplicate fields.
type exact struct {
	text []byte
	at   int
	// cleaned is the text with blanks for the names that the types do not have,
	// or nil when there are none.
	cleaned []byte
}

var (
	rawType         = reflect.TypeFor[json.RawMessage]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

func (s *exact) value(t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && t != rawType && reflect.PointerTo(t).Implements(unmarshalerType) {
		t = nil // it reads itself
	}
	switch s.next() {
	case '{':
		return s.object(t)
	case '[':
		s.at++
		for s.next() != ']' {
			if err := s.value(elementOf(t)); err != nil {
				return err
			}
		}
		s.at++
	case '"':
		s.string()
	default:
		for s.at < len(s.text) && strings.IndexByte(",]} \t\r\n", s.text[s.at]) < 0 {
			s.at++
		}
	}
	return nil
}

// object reads the fields of a struct, of a map, or of what t says nothing about.
func (s *exact) object(t reflect.Type) error {
	fields := fieldsOf(t)
	seen := map[string]bool{}
	for s.at++; s.next() != '}'; {
		start := s.at + 1
		name, err := s.name()
		if err != nil {
			return err
		}
		if seen[name] && t != rawType {
			return fmt.Errorf("duplicate field %q", name)
		}
		seen[name] = true
		of, known := fields[name]
		if fields == nil {
			of = elementOf(t)
		} else if !known {
			s.blank(start, s.at-1)
		}
		s.next() // the colon is passed over as white space is
		if err := s.value(of); err != nil {
			return err
		}
	}
	s.at++
	return nil
}

// next passes over what separates values, and returns the byte after it.
func (s *exact) next() byte {
	for strings.IndexByte(" \t\r\n,:", s.text[s.at]) >= 0 {
		s.at++
	}
	return s.text[s.at]
}

// string returns a string as it is written, with its quotes.
func (s *exact) string() []byte {
	start := s.at
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
	return s.text[start:s.at]
}

func (s *exact) name() (name string, err error) {
	written := s.string()
	if bytes.IndexByte(written, '\\') < 0 {
		return string(written[1 : len(written)-1]), nil
	}
	err = json.Unmarshal(written, &name)
	return name, err
}

// blank makes a name one that no type has.
func (s *exact) blank(from, to int) {
	if s.cleaned == nil {
		s.cleaned = bytes.Clone(s.text)
	}
	copy(s.cleaned[from:to], bytes.Repeat([]byte{' '}, to-from))
}

// elementOf is the type of a container's elements; nil when it has none, and
// rawType, which is not looked into, for itself.
func elementOf(t reflect.Type) reflect.Type {
	if t == nil || t == rawType {
		return t
	}
	if k := t.Kind(); k == reflect.Map || k == reflect.Slice || k == reflect.Array {
		return t.Elem()
	}
	return nil
}

// fieldsOf are the fields of a struct by their names in JSON; nil for other types.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		switch name, _, _ := strings.Cut(f.Tag.Get("json"), ","); {
		case name == "" && f.Anonymous:
			maps.Copy(fields, fieldsOf(f.Type))
		case name != "-":
			fields[cmp.Or(name, f.Name)] = f.Type
		}
	}
	return fields
}
