package helm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	helmrecord "github.com/nationtech/harmony/internal/cluster/record"
)

// records are the Secrets in which Helm keeps its revisions. Fields of a revision that the
// linked Helm does not know stay when it is written again: of Helm 4 those are apply_method,
// and rollback_revision in info. What Helm 4 adds further down, the times of the chart's
// files, is dropped; nothing depends on it.
type records struct {
	typed.SecretInterface
	// read are the revisions as they were, by the name of their Secret.
	read sync.Map
}

// recordKey is where Helm keeps a revision in a Secret.
const recordKey = helmrecord.Key

// Get implements [typed.SecretInterface].
func (s *records) Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Secret, error) {
	found, err := s.SecretInterface.Get(ctx, name, options)
	if err == nil {
		s.read.Store(name, found.Data[recordKey])
	}
	return found, err
}

// List implements [typed.SecretInterface].
func (s *records) List(ctx context.Context, options metav1.ListOptions) (*corev1.SecretList, error) {
	list, err := s.SecretInterface.List(ctx, options)
	if err == nil {
		for i := range list.Items {
			s.read.Store(list.Items[i].Name, list.Items[i].Data[recordKey])
		}
	}
	return list, err
}

// Update implements [typed.SecretInterface].
func (s *records) Update(ctx context.Context, secret *corev1.Secret, options metav1.UpdateOptions) (*corev1.Secret, error) {
	if before, ok := s.read.Load(secret.Name); ok {
		data, err := carried(before.([]byte), secret.Data[recordKey])
		if err != nil {
			return nil, fmt.Errorf("record in Secret %s: %w", secret.Name, err)
		}
		secret.Data[recordKey] = data
	}
	return s.SecretInterface.Update(ctx, secret, options)
}

// carried is a packed revision with those fields of before that the linked Helm has no
// place for.
func carried(before, packed []byte) ([]byte, error) {
	old, err := unpacked(before)
	if err != nil {
		return nil, err
	}
	var info map[string]json.RawMessage
	if err := json.Unmarshal(old["info"], &info); old["info"] != nil && err != nil {
		return nil, err
	}
	info = unknown(info, "first_deployed", "last_deployed", "deleted", "description", "status", "notes", "resources")
	more := unknown(old, "name", "info", "chart", "config", "manifest", "hooks", "version", "namespace")
	if len(more)+len(info) == 0 {
		return packed, nil
	}
	all, err := unpacked(packed)
	if err != nil {
		return nil, err
	}
	maps.Copy(all, more)
	if len(info) > 0 {
		var now map[string]json.RawMessage
		if err := json.Unmarshal(all["info"], &now); err != nil {
			return nil, err
		}
		maps.Copy(now, info)
		if all["info"], err = json.Marshal(now); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return repacked(data)
}

// unknown are the fields of a JSON object but for those known.
func unknown(fields map[string]json.RawMessage, known ...string) map[string]json.RawMessage {
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool { return slices.Contains(known, name) })
	return fields
}

// unpacked are the fields of a revision.
func unpacked(packed []byte) (map[string]json.RawMessage, error) {
	data, err := helmrecord.Unpack(packed)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(data, &fields)
}

// repacked is JSON as Helm keeps it.
func repacked(data []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(packed.Bytes())), nil
}
