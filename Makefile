.DEFAULT_GOAL := help

GO        ?= go
GO_MIN    := $(shell sed -n 's/^go //p' go.mod)
GO_DIRS   := $(wildcard blocks cmd compact head tsdb)
# The packages whose behaviour depends on how many files SQLite may attach, and
# those of their tests that attach.
ATTACHERS := $(patsubst %,./%,$(wildcard blocks tsdb))
ATTACHING := Pool|Select|Lookup|Explain|View|Catalog|Overlay|Version|Model|Walks|Windows|SQL|Workflow|Sums|Search|Stuck|PagesOf|CopiesOfDays
# Others that have such a word in their names: one file, or gaps.
ONE_FILE  := RunsAgainstModel|GapsAgainstModel|LegacySumsDifferential

# CGO_CFLAGS replaces Go's own "-O2 -g": without -O2 SQLite is half as fast.
# Set where it is wanted, never exported: each value is a compile of SQLite.
ATTACH_CFLAGS := -O2 -g -DSQLITE_MAX_ATTACHED=125

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --verify -q HEAD 2>/dev/null || echo unknown)
LDFLAGS  = -X main.version=$(VERSION) -X main.commit=$(COMMIT)

ARGS      ?=
TESTFLAGS ?=
FUZZTIME  ?= 10s
FUZZJOBS  ?= 1
CRASHFLAGS ?=
FAULTFLAGS ?=
BENCH     ?= .

.PHONY: help
help: ## Print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: tools ## Compile bin/daybook (attaches up to 125 files; a plain go build: 10)
	CGO_ENABLED=1 CGO_CFLAGS="$(ATTACH_CFLAGS)" $(GO) build -buildvcs=false -ldflags "$(LDFLAGS)" -o bin/daybook ./cmd/daybook

.PHONY: run
run: build ## Build, then serve on http://127.0.0.1:8365 with ./data (ARGS="--more=flags")
	@exec bin/daybook serve --storage.path=./data $(ARGS)

.PHONY: test
test: tools ## Run all tests, and those of blocks and tsdb that attach files again with 125 attachable ones
	$(GO) test $(TESTFLAGS) ./...
ifneq ($(ATTACHERS),)
	CGO_CFLAGS="$(ATTACH_CFLAGS)" $(GO) test -short -run '$(ATTACHING)' -skip '$(ONE_FILE)' $(TESTFLAGS) $(ATTACHERS)
endif

# Long tests of one goroutine, in which there is nothing to race with, and what is
# known of Fuzz targets; the race detector makes them ten times slower.
ALONE := ^Fuzz|TestAgainstModel|AnalyzeLegacy|ChunksGiveBack|DayFile|FilterRates|FindingsAreLines|GapsAgainstModel|IDRuns|LegacyDamagedPages|LegacyDifferential|LegacyEveryRow|LegacyExplain|LegacyFixtures|LegacyLink|LegacyLongTexts|LegacyOverlap|LegacyReadOnlyDir|LegacyRoundTrip|LegacyStaleWAL|LegacySums$$|LegacyThrough|LegacyTwice|LiveAgainstModel|LiveCopy|MergeIsALattice|MissingNames|NameRun|NamesBeyondTheBound|OneMicrosecond|PagesOfTracebacks|PlanRetention|RecordsAreWhat|RollupsAfterBrokenOff|RollupsOfManyNames|SelectAgainstMatch|SelectManyGroups|SelectPhrases|SelectWords|SQLLegacy|TestDamage$$|WantData

# Not the binary, whose tests have processes of their own, and no package in which
# nothing starts a goroutine or is used by several: house sees to that.
RACED = $(GO) list ./... | grep -v -E '/cmd/daybook$$|/cmd/internal/(celery|house|params|redact|render|units)$$|/tsdb/(load|rollup|task|text)$$'

# For .ci/run.
.PHONY: alone attach-cflags raced
alone:
	@echo '$(ALONE)'
raced:
	@$(RACED)
attach-cflags:
	@echo '$(ATTACH_CFLAGS)'

.PHONY: race
race: tools ## Run the tests of all packages under the race detector, the random ones for a shorter time; not those of the binary
	$(GO) test -race -short -skip '$(ALONE)' $(TESTFLAGS) $$($(RACED))

.PHONY: fuzz
fuzz: tools ## Fuzz every Fuzz target for FUZZTIME (10s) each, FUZZJOBS (1) packages at a time
	@list=$$(grep -rE '^func Fuzz[A-Za-z0-9_]*\(' --include='*_test.go' $(GO_DIRS) /dev/null | \
		sed -E 's/^(.*)\/[^\/]*:func (Fuzz[A-Za-z0-9_]*)\(.*/\1 \2/' | sort | \
		awk '$$1 != dir { if (dir) print line; dir = line = $$1 } { line = line " " $$2 } END { if (dir) print line }'); \
	[ -n "$$list" ] || { echo "no Fuzz targets"; exit 0; }; \
	echo "$$list" | GO="$(GO)" xargs -P $(FUZZJOBS) -L 1 .ci/fuzz $(FUZZTIME)

# Built with the tag "faults", the program kills itself where it is told to.
.PHONY: crash
crash: tools ## Kill the real binary, and its backups, at every named point and at random moments (CRASHFLAGS="-crash.for=1h -crash.seed=7")
	$(GO) test -tags faults -count=1 -timeout 0 -v -run '^TestCrash' $(TESTFLAGS) ./cmd/daybook $(CRASHFLAGS)

.PHONY: faults
faults: tools ## Let file operations fail, SQLite's included, and hold their order (FAULTFLAGS="-faults.all": every single one)
	$(GO) test -tags faults -count=1 -timeout 0 -v -run 'TestFailEvery|TestOrder' $(TESTFLAGS) ./tsdb $(FAULTFLAGS)

.PHONY: bench
bench: build ## Measure the built daemon beside other ways to store the same, five minutes (ARGS="ingest --rows=3000000")
	@bin/daybook bench $(ARGS)

.PHONY: gobench
gobench: tools ## Run all Go benchmarks (BENCH=regexp)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(TESTFLAGS) ./...

MODEL ?= 1000

.PHONY: model
model: tools ## Compare MODEL (1000) random sequences of operations with the naive models (ARGS="-model.first=5000")
	$(GO) test -count=1 -timeout 0 -run '^Test(Gaps)?AgainstModel$$' $(TESTFLAGS) ./tsdb -model.seeds=$(MODEL) $(ARGS)

SOAK ?= 10m

.PHONY: soak
soak: build ## As root: hold a daemon's disk for 30 s, then overload one for SOAK (10m), on a disk that stutters
	DAYBOOK_BIN=$(CURDIR)/bin/daybook $(GO) test -count=1 -v -timeout 0 -run '^TestStall$$' ./cmd/daybook -stall=30s
	DAYBOOK_BIN=$(CURDIR)/bin/daybook $(GO) test -count=1 -v -timeout 0 -run '^TestSoak$$' ./cmd/daybook -soak=$(SOAK) $(ARGS)

.PHONY: lint
lint: tools ## Check formatting, vet, the rules of the house, and that docs/flags.md is what the program says
	@files=$$(gofmt -l $(GO_DIRS) </dev/null) || exit 1; \
	[ -z "$$files" ] || { echo "not formatted (make fmt mends it):" >&2; echo "$$files" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags faults $$($(GO) list ./blocks ./compact ./head/... ./tsdb/... ./cmd/daybook)
	$(GO) test -count=1 ./cmd/internal/house
	$(GO) test -count=1 -run '^TestFlagsPage$$' ./cmd/daybook

.PHONY: fmt
fmt: tools ## Format all Go files
	gofmt -w $(GO_DIRS) </dev/null

.PHONY: tools
tools: ## Check that Go, cgo and a C compiler are there
	@command -v $(GO) >/dev/null 2>&1 || { \
		echo "daybook needs Go $(GO_MIN) or newer: install it from https://go.dev/dl/ and put it on PATH" >&2; exit 1; }
	@have=$$($(GO) env GOVERSION 2>/dev/null | sed 's/^go//'); \
	oldest=$$(printf '%s\n%s\n' "$(GO_MIN)" "$$have" | sort -V | head -n 1); \
	[ -n "$$have" ] && [ "$$oldest" = "$(GO_MIN)" ] || { \
		echo "daybook needs Go $(GO_MIN) or newer, and this is Go $${have:-of another age}: install it from https://go.dev/dl/" >&2; exit 1; }
	@cc=$$($(GO) env CC); \
	[ "$$($(GO) env CGO_ENABLED)" = 1 ] && \
	printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | $$cc -x c -fsyntax-only - >/dev/null 2>&1 || { \
		echo "daybook needs cgo and a C compiler: apt-get install gcc libc6-dev (and do not set CGO_ENABLED=0)" >&2; exit 1; }
