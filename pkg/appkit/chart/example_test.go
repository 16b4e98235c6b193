package chart_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/nationtech/harmony/pkg/appkit/chart"
)

// A chart of one object, one field of which is a value.
func Example() {
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"level": "info"}}
	files, err := chart.Chart{
		Name: "shop", Objects: []runtime.Object{settings},
		Values: []chart.Value{{Of: settings, Field: "data.level", Name: "logLevel"}},
	}.Files()
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s%s", files["templates/configmap-settings.yaml"], files["values.yaml"])
	// Output:
	// apiVersion: v1
	// data:
	//   level: {{ index .Values "logLevel" | toJson }}
	// kind: ConfigMap
	// metadata:
	//   name: settings
	// logLevel: info
}
