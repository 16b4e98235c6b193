// Package version reads a release's version from a tag, and makes one for a build without
// a tag.
package version

import (
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// FromTag reads a tag of the form <app>-v<version>, where the version is a
// strict semantic version, including pre-release and build. Of several matching apps the
// one with the longest name wins; a leading refs/tags/ is dropped. A tag that is malformed
// or names none of the apps is an error of status protocol.ExitInvalid with the nearest
// app and the expected form.
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

// unknownApp suggests the tag that was probably meant.
func unknownApp(tag string, apps []string) error {
	if len(apps) == 0 {
		return protocol.Invalid("tag %q names no app: there are none here; want <app>-v<version>", tag)
	}
	name, version := split(tag)
	want := " such as " + apps[0] + "-v1.4.0"
	if near := nearest.Name(name, apps); near != "" {
		if _, err := semver.StrictNewVersion(version); err != nil {
			version = "1.4.0"
		}
		want = ": did you mean " + near + "-v" + version + "?"
	}
	return protocol.Invalid("tag %q names no app, want <app>-v<version>%s", tag, want).WithHint("the apps are %s", strings.Join(apps, ", "))
}

// split splits a tag where its version seems to begin.
func split(tag string) (name, version string) {
	if at := regexp.MustCompile(`-v?([0-9]+\.[0-9].*)$`).FindStringSubmatchIndex(tag); at != nil {
		return tag[:at[0]], tag[at[2]:]
	}
	if i := strings.LastIndex(tag, "-v"); i >= 0 {
		return tag[:i], ""
	}
	return tag, ""
}

// TagFromEnvironment is the tag of a tag build in GitHub, Gitea and Forgejo
// (GITHUB_REF_TYPE and GITHUB_REF_NAME, or GITHUB_REF), GitLab and Woodpecker
// (CI_COMMIT_TAG).
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
