package buildable

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/internal/project/version"
)

// linkerFlag knows the allowed flags. Others can start programs and write files: -extld
// with -linkmode=external, -o, -cpuprofile. A flag that is not a switch takes the next
// word unless it has a value; only those in only are allowed, if there are any.
func linkerFlag(name string, cgo bool) (isSwitch, known bool, only []string) {
	switch name {
	case "X", "buildid":
		return false, true, nil
	case "s", "w", "compressdwarf", "checklinkname":
		return true, true, nil
	case "linkmode":
		return false, cgo, []string{"auto", "internal", "external"}
	case "extldflags":
		return false, cgo, []string{"-static"}
	}
	return false, false, nil
}

// checkLDFlags refuses what a project may not pass to the linker.
func (o Options) checkLDFlags() error {
	b := *o.App.Image.Buildable
	words, err := splitFlags(strings.Join(b.LDFlags, " "))
	if err != nil {
		return o.invalid("ldflags", "%v", err)
	}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		name, dashed := strings.CutPrefix(word, "-")
		name, value, given := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		isSwitch, known, only := linkerFlag(name, b.CGO)
		_, err := strconv.ParseBool(value)
		switch {
		case !dashed || !known:
			return o.invalid("ldflags", "%s is not allowed", word).WithHint("%s", allowedFlags(b.CGO))
		case given && isSwitch && err != nil:
			return o.invalid("ldflags", "%s must be true or false", word)
		case isSwitch:
			continue
		case !given && (len(words) == 0 || strings.HasPrefix(words[0], "@")): // the linker would read a file of further flags
			return o.invalid("ldflags", "%s has no value; write -%s=VALUE", word, name)
		case !given:
			value, words = words[0], words[1:]
		}
		if len(only) > 0 && !slices.Contains(only, value) {
			return o.invalid("ldflags", "-%s=%s is not allowed", name, value).WithHint("%s", allowedFlags(b.CGO))
		}
	}
	return nil
}

func allowedFlags(cgo bool) string {
	const always = "allowed: -X, -s, -w, -buildid, -compressdwarf, -checklinkname"
	if cgo {
		return always + ", -linkmode=auto, -linkmode=internal, -linkmode=external, -extldflags=-static"
	}
	return always + "; cgo is off, so there are no flags for an external linker"
}

// splitFlags splits as the go command does: at blanks, but for words that begin
// with a quotation mark and go to the next one.
func splitFlags(text string) ([]string, error) {
	const blanks = " \t\r\n"
	var words []string
	for text = strings.TrimLeft(text, blanks); text != ""; text = strings.TrimLeft(text, blanks) {
		end, skip := strings.IndexAny(text, blanks), 0
		if quote := text[0]; quote == '"' || quote == '\'' {
			text, skip = text[1:], 1
			if end = strings.IndexByte(text, quote); end < 0 {
				return nil, fmt.Errorf("a quotation mark %c is not closed", quote)
			}
		}
		if end < 0 {
			end = len(text)
		}
		words, text = append(words, text[:end]), text[end+skip:]
	}
	return words, nil
}

// The words in braces that ldflags can have.
const (
	wordVersion = "{version}"
	wordCommit  = "{commit}"
	wordDate    = "{date}"
)

// checkWords refuses what is probably one of the words, misspelled.
func (o Options) checkWords() error {
	known := []string{"version", "commit", "date"}
	for _, found := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(strings.Join(o.App.Image.Buildable.LDFlags, " "), -1) {
		word := found[1]
		if near := nearest.Name(strings.ToLower(word), known); near != "" && !slices.Contains(known, word) {
			return o.invalid("ldflags", "%s is unknown", found[0]).WithHint("did you mean {%s}?", near)
		}
	}
	return nil
}

// expand fills in {version}, {commit} and {date}. Git is asked only for what is there.
func (o Options) expand(ctx context.Context) ([]string, error) {
	flags := o.App.Image.Buildable.LDFlags
	if o.Unstamped {
		return flags, nil
	}
	has := func(word string) bool {
		return slices.ContainsFunc(flags, func(flag string) bool { return strings.Contains(flag, word) })
	}
	if has(wordVersion) && o.App.Version == "" {
		return nil, o.invalid("ldflags", "{version} needs metadata.version, which is empty").WithHint("name the version with --version")
	}
	var commit version.Commit
	date := os.Getenv("SOURCE_DATE_EPOCH") // which made Created
	if has(wordCommit) || has(wordDate) && date == "" {
		var err error
		if commit, err = version.Head(ctx, o.App.ProjectRoot); err != nil {
			return nil, o.invalid("ldflags", "{commit} and {date}: %v", err)
		}
		if commit.Hash == "" {
			word := cmp.Or(map[bool]string{true: wordCommit}[has(wordCommit)], wordDate)
			return nil, o.invalid("ldflags", "%s: git has no commit in %s", word, o.App.ProjectRoot).
				WithHint("commit, or take %s out; SOURCE_DATE_EPOCH can give the date", word)
		}
	}
	when := o.Created
	if date == "" {
		when = commit.Time
	}
	words := strings.NewReplacer(wordVersion, o.App.Version, wordCommit, commit.String(), wordDate, when.UTC().Format(time.RFC3339))
	expanded := make([]string, len(flags))
	for i, flag := range flags {
		expanded[i] = words.Replace(flag)
	}
	return expanded, nil
}
