# The suite's one Makefile. `make help` lists the targets.
SHELL      := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION    ?= $(shell git describe --tags --match 'v*' --dirty --always 2>/dev/null | sed -n 's/^v\([0-9]\)/\1/p')
PREFIX     ?= $(HOME)/.local
COMMANDS   := harmony harmony-build harmony-publish harmony-chart harmony-deploy harmony-smoke harmony-monitor harmony-registry harmony-devices harmony-plugin
# The compiler's flags are those of scripts/test.sh, so that both share its cache.
GO_FLAGS   := -gcflags=all=-dwarf=false -ldflags '-s -w -X github.com/nationtech/harmony/internal/plugins/suite.version=$(or $(VERSION),0.0.0-dev)'
export CGO_ENABLED := 0

.PHONY: help build install cross dist plugin-index test lint generate demo fresh bench cluster-up cluster-down clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## build the suite into bin/
	@install -d -m 755 bin
	go build $(GO_FLAGS) -o bin/ $(addprefix ./cmd/,$(COMMANDS))

install: build ## install the suite into PREFIX/bin (default ~/.local/bin)
	PREFIX='$(PREFIX)' scripts/install.sh bin

cross: ## compile for linux and darwin, amd64 and arm64
	@for os in linux darwin; do for arch in amd64 arm64; do \
	  echo "$$os/$$arch"; GOOS=$$os GOARCH=$$arch go build -trimpath -o /dev/null ./cmd/...; \
	done; done

dist: ## build the archives of a release into dist/VERSION, reproducibly
	go run ./scripts/dist build $(if $(VERSION),-version '$(VERSION)')

plugin-index: dist ## make the manifests in plugin-index/ those of the archives in dist/
	go run ./scripts/dist index $(if $(VERSION),-version '$(VERSION)')

test: ## run every test; sets up all that it needs
	scripts/test.sh

lint: ## vet, staticcheck, generated files and plugin index current, shell scripts
	scripts/lint.sh

generate: ## make schemas/ again from the Go types
	go run ./schemas/generate

demo: build ## release examples/fleet to a real cluster
	scripts/demo.sh

fresh: ## prove that the project sets up a new Debian machine (root, some minutes)
	scripts/fresh.sh

bench: build ## measure, and print ratios against other tools
	scripts/bench.sh

cluster-up: ## start the test cluster (CLUSTER=current: use the current kube context)
	go run ./test/cluster up

cluster-down: ## stop it and take everything away
	go run ./test/cluster down

clean: ## remove bin/ and dist/
	rm -rf bin dist
