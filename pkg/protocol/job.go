package protocol

import (
	"fmt"
	"strings"
)

// JobSpec is a container that runs once in the target's namespace, and holds when it ends
// with 0.
type JobSpec struct {
	// Image is any image, by digest or tag. Without it and AppImage the container runs the
	// app's own image of this release, by its digest.
	Image string `json:"image,omitempty"`
	// AppImage is the name of one of the app's further images, [AppSpec.Images].
	AppImage string `json:"appImage,omitempty"`
	// Command replaces the image's entrypoint, Args its arguments.
	Command []string `json:"command,omitempty"`
	// Args are the arguments of the command.
	Args []string `json:"args,omitempty"`
	// Env are variables with their value. They are no place for secrets.
	Env map[string]string `json:"env,omitempty"`
	// EnvRefs are variables that take their value from a Secret or a ConfigMap.
	EnvRefs map[string]EnvRef `json:"envRefs,omitempty"`
	// EnvFrom takes every key of a Secret or a ConfigMap as a variable.
	EnvFrom []EnvFrom `json:"envFrom,omitempty"`
	// Resources are what the pod asks for, and may use at most.
	Resources *Resources `json:"resources,omitempty"`
	// ServiceAccountName is one that exists, whose token is mounted; the namespace's default
	// one, without a token, when empty.
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// RunAsUser runs the container, and is not 0; the image's own user when absent.
	RunAsUser *int64 `json:"runAsUser,omitempty"`
}

func (j JobSpec) validate(p *problems, field string, app AppSpec) {
	_, known := app.Images[j.AppImage]
	switch {
	case j.Image != "" && j.AppImage != "":
		p.add(field, "has image and appImage; keep one")
	case j.Image != "":
		p.must(basePattern.MatchString(j.Image), field+".image", "%q is not an image, for example NAME@sha256:…", j.Image)
	case j.AppImage != "":
		p.must(known, field+".appImage", "%q is not one of spec.images", j.AppImage)
	default:
		p.must(!app.Image.IsNone(), field+".image", "is required: the app has no image of its own")
	}
	for name, words := range map[string][]string{"command": j.Command, "args": j.Args} {
		for i, word := range words {
			p.must(!strings.ContainsRune(word, 0), fmt.Sprintf("%s.%s[%d]", field, name, i), "contains a NUL character")
		}
	}
	Workload{Env: j.Env, EnvRefs: j.EnvRefs, EnvFrom: j.EnvFrom}.validateEnv(p, field)
	j.Resources.validate(p, field+".resources")
	if j.ServiceAccountName != "" {
		p.object(field+".serviceAccountName", j.ServiceAccountName)
	}
	p.must(j.RunAsUser == nil || *j.RunAsUser > 0, field+".runAsUser", "is root, or not an id")
}

func (r *Resources) validate(p *problems, field string) {
	if r == nil {
		return
	}
	for kind, quantities := range map[string]map[string]string{"requests": r.Requests, "limits": r.Limits} {
		for name, quantity := range quantities {
			p.quantity(field+"."+kind+"."+name, quantity)
		}
	}
}
