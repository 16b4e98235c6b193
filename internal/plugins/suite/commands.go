package suite

// BuiltIn lists the commands of harmony itself, which no plugin can replace.
func BuiltIn() []string {
	return []string{"completion", "diff", "help", "plan", "plugin", "release", "rollback", "status", "version"}
}

// Plugins lists the plugins that come with harmony, without their prefix.
func Plugins() []string {
	return []string{"build", "chart", "deploy", "monitor", "plugin", "publish", "registry", "smoke"}
}

// Command is a command's usage, and its description in one line.
type Command struct{ Use, Short string }

// PluginCommands are the commands of harmony plugin that harmony-plugin carries out.
func PluginCommands() []Command {
	return []Command{
		{"search [WORD...]", "List the plugins that the indexes offer"},
		{"info NAME[@VERSION]", "Show what an index says about a plugin"},
		{"install NAME[@VERSION]...", "Install plugins from an index"},
		{"upgrade [NAME...]", "Upgrade installed plugins to the newest version"},
		{"uninstall NAME...", "Remove installed plugins, with all their versions"},
		{"rollback NAME", "Go back to the previous version"},
		{"lock [NAME[@VERSION]...]", "Pin the project's plugins in harmony-plugins.lock"},
		{"sync", "Install exactly what harmony-plugins.lock pins, for the project"},
		{"index", "Configure the indexes in which plugins are looked for"},
		{"doctor", "Check PATH, plugins and the lock file for problems"},
		{"new NAME", "Write a new plugin that keeps the contract"},
	}
}
