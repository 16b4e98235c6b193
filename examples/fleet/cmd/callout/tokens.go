package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"path"
	"strings"
)

// tokens are the rules by which devices are admitted.
type tokens []rule

// A rule admits the devices whose name matches pattern and who show the token
// with this hash.
type rule struct {
	pattern string
	hash    [sha256.Size]byte
}

// parseTokens reads one rule a line, "PATTERN TOKEN", where the pattern is a
// device's name or a glob such as fleet-agent-*. Empty lines and lines that
// start with # are left out. No error quotes a token.
func parseTokens(text string) (tokens, error) {
	var rules tokens
	scanner := bufio.NewScanner(strings.NewReader(text))
	for number := 1; scanner.Scan(); number++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseRule(line)
		if err != nil {
			return nil, fmt.Errorf("tokens, line %d: %w", number, err)
		}
		rules = append(rules, r)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	if len(rules) == 0 {
		return nil, errors.New("tokens: there is no rule, so no agent could be admitted")
	}
	return rules, nil
}

func parseRule(line string) (rule, error) {
	fields := strings.Fields(line)
	if len(fields) != 2 {
		return rule{}, errors.New("want a device pattern and a token, with a space between")
	}
	if _, err := path.Match(fields[0], ""); err != nil {
		return rule{}, fmt.Errorf("device pattern: %w", err)
	}
	return rule{pattern: fields[0], hash: sha256.Sum256([]byte(fields[1]))}, nil
}

// admit tells whether device may enter with this token, and why not. Hashes
// are compared, in constant time and over all rules, so that the time taken
// tells nothing about a token.
func (t tokens) admit(device, token string) (bool, string) {
	hash := sha256.Sum256([]byte(token))
	known, allowed := false, 0
	for _, r := range t {
		// The pattern was checked when it was read.
		if ok, _ := path.Match(r.pattern, device); ok {
			known = true
			allowed |= subtle.ConstantTimeCompare(hash[:], r.hash[:])
		}
	}
	switch {
	case allowed == 1:
		return true, "the token is good for this device"
	case known:
		return false, "the token is not good for this device"
	default:
		return false, "no rule names this device"
	}
}
