package buildable

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// validate refuses values that are not safe in the Dockerfile, whose RUN lines a shell
// reads.
func (s leptosSettings) validate(o Options) error {
	for _, field := range []struct {
		name, pattern string
		values        []string
	}{
		{"project", namePattern, []string{s.Project}},
		{"package", namePattern, []string{s.Package}},
		{"libPackage", namePattern, []string{s.LibPackage}},
		{"bin", namePattern, []string{s.Bin}},
		{"features", featurePattern, s.Features},
		{"binFeatures", featurePattern, s.BinFeatures},
		{"libFeatures", featurePattern, s.LibFeatures},
		{"outputName", namePattern, []string{s.OutputName}},
		{"sitePkgDir", pathPattern, []string{s.SitePkgDir}},
		{"siteRoot", pathPattern, []string{s.SiteRoot}},
		{"rustImage", imagePattern, []string{s.RustImage}},
		{"runtimeImage", imagePattern, []string{s.RuntimeImage}},
		{"cargoLeptos", versionPattern, []string{s.CargoLeptos}},
	} {
		for _, value := range field.values {
			if value != "" && !regexp.MustCompile(field.pattern).MatchString(value) {
				return o.invalid("settings."+field.name, "%q cannot be used here", value)
			}
		}
	}
	for name, value := range map[string]string{"sitePkgDir": s.SitePkgDir, "siteRoot": s.SiteRoot} {
		if value != "" && !filepath.IsLocal(value) {
			return o.invalid("settings."+name, "the path %q leads out of the folder", value)
		}
	}
	if s.Port != 0 && (s.Port < 1024 || s.Port > 65535) {
		return o.invalid("settings.port", "%d is not in 1024 to 65535, where nonroot can listen", s.Port)
	}
	return s.validateEnv(o)
}

// The patterns of values in the Dockerfile.
const (
	namePattern    = `^[A-Za-z0-9_][A-Za-z0-9_.-]*$`
	featurePattern = `^[A-Za-z0-9_][A-Za-z0-9_+./?-]*$`
	pathPattern    = `^[A-Za-z0-9_./][A-Za-z0-9_./-]*$`
	imagePattern   = `^[A-Za-z0-9][A-Za-z0-9_.:/@-]*$`
	versionPattern = `^[0-9][A-Za-z0-9.+-]*$`
	envPattern     = `^[A-Za-z_][A-Za-z0-9_]*$`
)

func (s leptosSettings) validateEnv(o Options) error {
	name := regexp.MustCompile(envPattern)
	for _, key := range slices.Sorted(maps.Keys(s.Env)) {
		if !name.MatchString(key) {
			return o.invalid("settings.env", "%q is not the name of a variable", key)
		}
		if strings.ContainsAny(s.Env[key], "\r\n\x00") {
			return o.invalid("settings.env."+key, "has more than one line")
		}
	}
	return nil
}

func (s leptosSettings) environment() map[string]string {
	env := map[string]string{
		"LEPTOS_ENV":          "PROD",
		"LEPTOS_OUTPUT_NAME":  s.OutputName,
		"LEPTOS_SITE_ADDR":    fmt.Sprintf("0.0.0.0:%d", s.Port),
		"LEPTOS_SITE_PKG_DIR": s.SitePkgDir,
		"LEPTOS_SITE_ROOT":    "site",
	}
	maps.Copy(env, s.Env)
	return env
}

// quote makes a value for ENV from any text.
func quote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(value) + `"`
}
