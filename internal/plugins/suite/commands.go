package suite

// BuiltIn lists the commands of harmony itself, which no plugin can take the
// place of.
func BuiltIn() []string {
	return []string{"completion", "diff", "help", "plan", "plugin", "release", "rollback", "status", "version"}
}

// Plugins lists the plugins that come with harmony, without their prefix.
func Plugins() []string {
	return []string{"build", "chart", "deploy", "monitor", "plugin", "publish", "registry", "smoke"}
}
