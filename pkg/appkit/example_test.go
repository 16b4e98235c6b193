package appkit_test

import (
	"context"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/nationtech/harmony/pkg/appkit"
	"github.com/nationtech/harmony/pkg/appkit/chart"
	"github.com/nationtech/harmony/pkg/protocol"
)

// shop is a whole app plugin, harmony-shop. Its main function is
//
//	os.Exit(shop().Main(ctx, appkit.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
func shop() appkit.Plugin {
	return appkit.Plugin{
		Name: "shop", Version: "1.0.0", Description: "The shop",
		Apps: []appkit.App{{Chart: shopChart, Spec: protocol.AppSpec{
			Metadata: protocol.Metadata{Name: "shop"},
			Image:    protocol.ImageSource{Buildable: &protocol.Buildable{Type: "go"}},
			Chart:    protocol.ChartSource{Builder: &protocol.ChartBuilder{Plugin: "harmony-shop"}},
			Targets:  map[string]protocol.TargetValues{"production": {Values: map[string]any{"replicas": 3}}},
		}}},
	}
}

func shopChart(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (appkit.Chart, error) {
	labels := map[string]string{"app.kubernetes.io/name": app.Name}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app.Name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(1)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: app.Name, Image: image.String()}}},
			},
		},
	}
	return chart.Chart{
		Objects: []runtime.Object{deployment},
		Values:  []chart.Value{{Of: deployment, Field: "spec.replicas", Name: "replicas"}},
	}, nil
}

func Example() {
	made, err := shopChart(context.Background(), protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}}, protocol.ImageRef{
		Registry: "registry.example.com", Repository: "shop", Tag: "1.4.0",
	})
	if err != nil {
		panic(err)
	}
	files, err := made.(chart.Chart).Files()
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(files["templates/deployment-shop.yaml"])
	os.Stdout.Write(files["values.yaml"])
	// Output:
	// apiVersion: apps/v1
	// kind: Deployment
	// metadata:
	//   labels:
	//     app.kubernetes.io/name: shop
	//   name: shop
	// spec:
	//   replicas: {{ index .Values "replicas" | toJson }}
	//   selector:
	//     matchLabels:
	//       app.kubernetes.io/name: shop
	//   strategy: {}
	//   template:
	//     metadata:
	//       labels:
	//         app.kubernetes.io/name: shop
	//     spec:
	//       containers:
	//       - image: registry.example.com/shop:1.4.0
	//         name: shop
	//         resources: {}
	// replicas: 1
}
