package differential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// generator makes a context with a Dockerfile out of a seed.
type generator struct {
	*rand.Rand
	t    *testing.T
	dir  string
	base string
	// careful is set for one that avoids mistakes.
	careful bool
	// paths are what is in the context, and folders those of them that are.
	paths, folders []string
	// stages are the names of those that are written, and variables what is
	// declared.
	stages, variables []string
	text              strings.Builder
}

// generate writes a context into an empty folder. The base is an image to build
// from.
func generate(t *testing.T, seed uint64, base string) testCase {
	t.Helper()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 11)), t: t, dir: t.TempDir(), base: base, careful: seed%4 != 0, folders: []string{""}}
	g.files()
	g.ignore()
	g.dockerfile()
	put(t, filepath.Join(g.dir, "Dockerfile"), []byte(g.text.String()))
	c := testCase{dir: g.dir, dockerfile: "Dockerfile", args: map[string]string{}, platform: one(g, "linux/amd64", "linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm")}
	if g.chance(6) {
		c.args[one(g, "A", "B", "TARGETARCH", "http_proxy")] = one(g, "given", "d", "", "x y")
	}
	if named := slices.DeleteFunc(slices.Clone(g.stages), func(s string) bool { return s == "" }); g.chance(6) && len(named) > 0 {
		c.target = one(g, named...)
	}
	return c
}

// chance is true once in n.
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

// one is any of several.
func one(g *generator, from ...string) string { return from[g.IntN(len(from))] }

// maybe is a text once in n.
func (g *generator) maybe(n int, text string) string {
	if g.chance(n) {
		return text
	}
	return ""
}

func (g *generator) line(format string, args ...any) { fmt.Fprintf(&g.text, format+"\n", args...) }

func (g *generator) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// files makes files, folders and links, with all sorts of names and modes.
func (g *generator) files() {
	for range 5 + g.IntN(9) {
		name := one(g, "a.txt", "b.txt", "c.bin", "d", "e", "f", ".hid", "x y", "é.txt", "a[1].txt", "UP", "-dash", "k.tar", "l", "m.go", "$v")
		at := path.Join(one(g, g.folders...), name)
		if slices.Contains(g.paths, at) {
			continue
		}
		full := filepath.Join(g.dir, at)
		kind := g.IntN(9)
		if g.careful && kind == 3 {
			kind = 5
		}
		switch kind {
		case 0, 1, 2:
			g.must(os.Mkdir(full, 0o755))
			g.folders = append(g.folders, at)
			if !g.chance(2) {
				g.must(os.Chmod(full, modeOf(g.t, one(g, "700", "755", "775", "1777", "2755", "555"))))
			}
		case 3:
			target := one(g, append(slices.Clone(g.paths), "nowhere", "/a.txt", "/d", "../a.txt", "d", ".", "..", "l")...)
			g.must(os.Symlink(target, full))
		case 4:
			put(g.t, full, pack(g.t, name+one(g, ".tar", ".gz"), []byte(g.archive())))
		default:
			put(g.t, full, []byte(one(g, "", "one\n", "two\n", at)))
			g.must(os.Chmod(full, modeOf(g.t, one(g, "600", "644", "664", "755", "711", "444", "4755", "2750", "777"))))
		}
		g.paths = append(g.paths, at)
	}
}

// archive lists the entries of an archive or a layer.
func (g *generator) archive() string {
	var b strings.Builder
	for range 1 + g.IntN(6) {
		name := one(g, "a", "d/b", "d/c", "e/f/g", "./h", "/abs", "o/p")
		owner := one(g, "0:0", "1:2", "1000:1000")
		switch g.IntN(6) {
		case 0:
			fmt.Fprintf(&b, "d %s %s %s\n", one(g, "0755", "0700", "1777"), owner, one(g, "d", "o", "e", "e/f"))
		case 1:
			fmt.Fprintf(&b, "l 0777 %s %s %s\n", owner, one(g, "l", "d/l"), one(g, "a", "d", "/d", "../x", "nowhere"))
		default:
			fmt.Fprintf(&b, "- %s %s %s %s\n", one(g, "0644", "0600", "4755", "0755"), owner, name, one(g, "1", "22", "333"))
		}
	}
	return b.String()
}

func (g *generator) ignore() {
	if !g.chance(2) || g.careful && !g.chance(4) {
		return
	}
	var b strings.Builder
	for range 1 + g.IntN(4) {
		b.WriteString(one(g, "*.txt", "!a.txt", "d", "d/*", "**/f", "!d/e", "# a comment", "/a.txt", "./b*", "e/", "*", "!c.bin", ".*", "?.bin",
			"[a-b].txt", "**", "!**/*.go", "d/**/a.txt", "!e/**", " f ", "", "..", "!l", "d/e/../c.bin", "Dockerfile", "*/b.txt") + "\n")
	}
	put(g.t, filepath.Join(g.dir, ".dockerignore"), []byte(b.String()))
}

func (g *generator) dockerfile() {
	g.text.WriteString(g.maybe(8, "# check=skip=all\n"))
	for range g.IntN(3) {
		g.line("ARG %s", one(g, "A=d", "B", "A=${B:-e}", "C=\"q r\"", "TARGETARCH", "P=linux/amd64"))
	}
	for i := range 1 + g.IntN(3) {
		name := g.maybe(2, one(g, "one", "two", "Three"))
		from := one(g, "scratch", "scratch", g.base)
		if len(g.stages) > 0 && g.chance(3) {
			from = one(g, append(slices.Clone(g.stages), "scratch")...)
		}
		if from == "" {
			from = "scratch"
		}
		as := ""
		if name != "" {
			as = " " + one(g, "AS", "as") + " " + name
		}
		g.line("%s%s %s%s", one(g, "FROM", "from"), g.maybe(7, " --platform="+one(g, "linux/amd64", "$TARGETPLATFORM", "$BUILDPLATFORM", "amd64")), from, as)
		g.variables = nil
		for range 1 + g.IntN(7) {
			g.instruction(i)
		}
		g.stages = append(g.stages, name)
	}
}

// instruction writes one, of which most copy.
func (g *generator) instruction(stage int) {
	switch g.IntN(20) {
	case 0, 1, 2, 3, 4, 5, 6:
		g.copy(stage)
	case 7, 8:
		g.add()
	case 9:
		g.line("WORKDIR %s", one(g, "/w", "w", "/w/x/../y", "$A/z", "/", ".", "/d/l", "\"/q w\"", "/w/"))
	case 10, 11:
		name := one(g, "A", "B", "V")
		g.variables = append(g.variables, name)
		g.line("%s", one(g, "ARG "+name, "ARG "+name+"=d", "ENV "+name+"=e", "ENV "+name+" f g", "ENV "+name+"=\"x $A\" W='$A'", "ENV "+name+"=${A:-n}${B:+p}", "ENV "+name+"=\\$A",
			"ARG "+name+"=${A%d} T=${A/d/x}", "ENV "+name+"=${A#*.}"))
	case 12:
		g.heredoc()
	default:
		if g.careful || g.chance(2) {
			g.line("%s", g.setting())
		} else {
			g.line("%s", g.mistake())
		}
	}
}

// mistake is an instruction that is refused, or should better be.
func (g *generator) mistake() string {
	return one(g, "EXPOSE 70000", "STOPSIGNAL nope", "STOPSIGNAL $A", "HEALTHCHECK CMD", "LABEL a", "SHELL /bin/sh", "ENV", "NOPE x", "ONBUILD ONBUILD ENV x=y",
		"ONBUILD FROM x", "ENV A=${UNSET?needed}", "USER $A", "EXPOSE $A", "CMD", "VOLUME [\"/v 1\", \"$A\"]", "COPY --nope a /", "WORKDIR", "ENV A=${", "EXPOSE 1-2:3-9")
}

// setting is an instruction that is for the configuration.
func (g *generator) setting() string {
	return one(g,
		"USER 1000", "USER web:staff", "EXPOSE 80", "EXPOSE 80/udp 90-92", "EXPOSE 8080:80", "EXPOSE 127.0.0.1:80:81/TCP", "EXPOSE 9/", "EXPOSE 0", "EXPOSE 1-2:3-4/sctp",
		"LABEL a=b", "LABEL a=\"b c\" d=$A", "LABEL \"e f\"=g", "LABEL x='$A' y=\"$A\"", "VOLUME /v", "VOLUME [\"/v 1\"]", "VOLUME /v /w",
		"STOPSIGNAL TERM", "STOPSIGNAL 9", "STOPSIGNAL SIGRTMIN+1",
		"HEALTHCHECK NONE", "HEALTHCHECK --interval=5s --retries=2 CMD curl x", "HEALTHCHECK --start-interval=1s --start-period=1m --timeout=3s CMD [\"a\", \"b\"]", "HEALTHCHECK --interval=0s CMD x",
		"SHELL [\"/bin/ash\", \"-e\"]", "CMD a \"b c\" $A", "CMD [\"a\", \"$A\"]", "CMD [\"a\", b]", "CMD []", "ENTRYPOINT [\"e\"]", "ENTRYPOINT e f", "ENTRYPOINT []",
		"ONBUILD COPY . /onbuild", "ONBUILD ENV OB=$A", "ONBUILD WORKDIR ob", "MAINTAINER me <m@example.com>",
		"LABEL a=b \\\n # in between\n\n c=d", "LABEL a.b=$(x) c=`d`", "CMD echo \\\n  more")
}

func (g *generator) heredoc() {
	word := one(g, "EOF", "'EOF'", "-EOF", "\"EOF\"")
	mark := "EOF"
	g.line("%s%s <<%s %s\nhello $A ${B:-b} \\$C \"q\"\n\ttab\n%s", one(g, "COPY", "ADD"), g.maybe(3, " --chmod=600"), word, one(g, "/here", "/here/", "there", "/d/here"), mark)
}

// source is what COPY may name: a path as it is or in disguise.
func (g *generator) source() string {
	if !g.careful && g.chance(12) {
		return one(g, ".", "*", "nope", "nope*", "/", "./", "d/", "$A", "?", "[a-c]*", "**", "d/*", "*/*.txt", "é*", "*.txt")
	}
	name := one(g, g.paths...)
	if g.careful {
		return one(g, name, name, "./"+name, "/"+name, ".", "*", "[a-z]*", path.Dir(name), "*.txt", "d*", "?")
	}
	switch g.IntN(8) {
	case 0:
		return "./" + name
	case 1:
		return "/" + name
	case 2:
		return name + "/"
	case 3:
		return path.Join(path.Dir(name), "*"+path.Ext(name))
	case 4:
		return path.Dir(name)
	}
	return name
}

// destination is where COPY may put it.
func (g *generator) destination() string {
	if g.careful {
		return one(g, "/", "/o/", "./", "o/", ".", "/d/", "/d/e/", "/l/", "/o/$A/", "/o/../p/", "/o/.", "/n/m/")
	}
	return one(g, "/", "/o", "/o/", "o", "./", ".", "/d", "/d/", "/d/e/", "/l", "/l/", "/d/l/x", "/o/$A/", "/o/../p/", "a.txt", "/etc/", "/o/p/q", "..", "/o/.", "/o/n/", "/n/m/")
}

// words are sources and a destination, as a list where a name needs that.
func (g *generator) words(sources ...string) string {
	all := append(sources, g.destination())
	if !slices.ContainsFunc(all, func(s string) bool { return strings.ContainsAny(s, " ") }) && !g.chance(6) {
		return strings.Join(all, " ")
	}
	return "[\"" + strings.Join(all, "\", \"") + "\"]"
}

// flags are some that COPY and ADD take.
func (g *generator) flags() string {
	if g.careful {
		return g.maybe(5, " --chown="+one(g, "1:2", "7", ":5", "0:0", "1000:")) + g.maybe(5, " --chmod="+one(g, "600", "0755", "4711", "u=rwX,go=rX", "a+x", "go-w", "1777", "u+s,g=u")) +
			g.maybe(7, " --link") + g.maybe(7, " --exclude="+one(g, "*.txt", "d", "**/f", "e/**", "**/*.txt --exclude=!a.txt"))
	}
	return g.maybe(6, " --chown="+one(g, "1:2", "7", ":5", "web", "web:staff", "nobody", "0:staff", "$A", "1000:web")) +
		g.maybe(6, " --chmod="+one(g, "600", "0755", "4711", "u=rwX,go=rX", "a+x", "go-w", "1777", "8", "$A", "+x", "u+s")) +
		g.maybe(7, " --link"+one(g, "", "", "=false", "=true")) +
		g.maybe(7, " --exclude="+one(g, "*.txt", "d", "**/f", "*", "**/*.txt --exclude=!a.txt", "e/**", "/d"))
}

func (g *generator) copy(stage int) {
	flags := g.flags() + g.maybe(7, " --parents")
	if stage > 0 && g.chance(2) {
		if g.careful {
			g.line("COPY --from=%s%s %s", one(g, "0", "0", g.base), flags, g.words(one(g, "/", ".", "/*", "/d*", "/[a-o]*", "/e*/*")))
			return
		}
		from := one(g, "0", "0", fmt.Sprint(stage), "9", "ONE", "two", g.base)
		g.line("COPY --from=%s%s %s", from, flags, g.words(one(g, "/", ".", "/d", "/d/*", "o", "/o/", "/l", "/d/e", "/*", "/nope", "d/./e", "a*", "/etc/passwd", "/here", "/w")))
		return
	}
	sources := []string{g.source()}
	for g.chance(3) {
		sources = append(sources, g.source())
	}
	if g.chance(12) {
		sources[0] = path.Dir(sources[0]) + "/./" + path.Base(sources[0])
	}
	g.line("%s%s %s", one(g, "COPY", "copy"), flags, g.words(sources...))
}

func (g *generator) add() {
	g.line("ADD%s%s %s", g.flags(), g.maybe(6, " --unpack="+one(g, "true", "false")), g.words(g.source()))
}
