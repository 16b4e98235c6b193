// Package version knows how a release's version is written in a tag, and what
// to call a build that has no tag.
package version

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// FromTag reads a tag of the form <app>-v<version>, where the version is a
// strict semantic version, pre-release and build included. Of several apps that
// fit the longest name wins; a leading refs/tags/ is dropped. A tag that is
// malformed or names none of the apps is an error of status
// protocol.ExitInvalid, which tells the nearest app and the expected form.
func FromTag(tag string, apps []string) (app string, v semver.Version, err error) {
	tag = strings.TrimPrefix(tag, "refs/tags/")
	for _, name := range apps {
		if len(name) > len(app) && strings.HasPrefix(tag, name+"-v") {
			app = name
		}
	}
	if app == "" {
		return "", semver.Version{}, unknownApp(tag, apps)
	}
	text := tag[len(app)+len("-v"):]
	parsed, err := semver.StrictNewVersion(text)
	if err != nil {
		return "", semver.Version{}, protocol.Invalid("tag %q: %q is not a semantic version, want %s-v<version> such as %s-v1.4.0", tag, text, app, app).
			WithHint("a version has three numbers without leading zeros, then at most a pre-release and a build: 1.4.0-rc.1+5")
	}
	return app, *parsed, nil
}

// unknownApp says which tag was probably meant.
func unknownApp(tag string, apps []string) error {
	const form = "<app>-v<version>"
	name, version := split(tag)
	if len(apps) == 0 {
		return protocol.Invalid("tag %q names no app: there is none here; want %s", tag, form)
	}
	hint := "the apps are " + strings.Join(apps, ", ")
	near := nearest.Name(name, apps)
	if near == "" {
		return protocol.Invalid("tag %q names no app, want %s such as %s-v1.4.0", tag, form, apps[0]).WithHint("%s", hint)
	}
	if _, err := semver.StrictNewVersion(version); err != nil {
		version = "1.4.0"
	}
	return protocol.Invalid("tag %q names no app, want %s: did you mean %s?", tag, form, fmt.Sprintf("%s-v%s", near, version)).WithHint("%s", hint)
}

// split cuts a tag where its version seems to begin.
func split(tag string) (name, version string) {
	if at := regexp.MustCompile(`-v?([0-9]+\.[0-9].*)$`).FindStringSubmatchIndex(tag); at != nil {
		return tag[:at[0]], tag[at[2]:]
	}
	if i := strings.LastIndex(tag, "-v"); i >= 0 {
		return tag[:i], ""
	}
	return tag, ""
}

// TagFromEnvironment is the tag of a tag build, as GitHub, Gitea, Forgejo
// (GITHUB_REF_TYPE and GITHUB_REF_NAME, or GITHUB_REF), GitLab and Woodpecker
// (CI_COMMIT_TAG) tell it.
func TagFromEnvironment(getenv func(string) string) (tag string, ok bool) {
	if name := getenv("GITHUB_REF_NAME"); name != "" && getenv("GITHUB_REF_TYPE") == "tag" {
		return name, true
	}
	if name, found := strings.CutPrefix(getenv("GITHUB_REF"), "refs/tags/"); found && name != "" {
		return name, true
	}
	tag = getenv("CI_COMMIT_TAG")
	return tag, tag != ""
}
