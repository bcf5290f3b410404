# One golangci-lint for everybody, built from its module: two minutes the first
# time, then from Go's build cache. It brings gofumpt along.
GOLANGCI_LINT = GOWORK=off go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   = GOWORK=off go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# How long each fuzz target runs in make fuzz.
FUZZTIME ?= 1m

.DEFAULT_GOAL := help
.PHONY: help test lint fmt fuzz bench tidy vuln

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## build, vet and race-test every module, fuzz briefly, run the examples
	@scripts/test

lint: ## run the linters over every module
	@scripts/each $(GOLANGCI_LINT) run --config "$(CURDIR)/.golangci.yml" ./...

fmt: ## format every module with gofumpt
	@scripts/each $(GOLANGCI_LINT) fmt --config "$(CURDIR)/.golangci.yml" ./...

fuzz: ## run each fuzz target for FUZZTIME=1m
	@scripts/fuzz $(FUZZTIME)

bench: ## compare with a bare handler and client, a plain file and a peer: ten minutes, needs wrk and gcc
	@cd bench && go run .

tidy: ## go mod tidy in every module, and go.work.sum anew
	@GOWORK=off scripts/each go mod tidy
	@rm -f go.work.sum
	@go list -m all >/dev/null
	@scripts/each go vet ./...

vuln: ## look up known vulnerabilities: asks the Go vulnerability database
	@scripts/each $(GOVULNCHECK) ./...
