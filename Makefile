# SPDX-License-Identifier: GPL-2.0
# Targets only: each is one script.

BASE ?= 6.12
FLAVOR ?= guest

.PHONY: help demo bench plots tables test soak mutants coverage kernel qemu series tree export lint bisect update clean
.DEFAULT_GOAL := help

help:
	@scripts/help Makefile

demo: ## the main job: two guests side by side; host memory coming back [HOST=system]
	@BASE=$(BASE) bench/demo

bench: ## measure next to free page reporting: 5 h; QUICK=1: 1.5 h; BENCH="step churn": 2 of 10
	@bench/run $(if $(QUICK),--quick) $(BENCH)

plots: ## draw what was measured: build/bench/*.svg and .png
	@scripts/deps plot && bench/plots

tables: ## bench/RESULTS.md from what was measured
	@bench/tables

test: ## everything CI runs
	@test/run

soak: ## the long tests: SOAK_MINUTES (30) for each kind
	@test/run --soak

mutants: ## test the tests: each of many deliberate mistakes has to be noticed
	@test/mutants

coverage: ## the lines of mm/page_hinting*.c that tests in a guest run
	@test/coverage

kernel: ## build/BASE/FLAVOR/arch/x86/boot/bzImage [FLAVOR=guest, debug, rt, kcsan, gcov, nohint, trace]
	@scripts/kernel $(BASE) $(FLAVOR)

qemu: ## build/qemu/qemu-system-x86_64
	@qemu/build

series: ## build/BASE/series/*.patch, ready for git am
	@scripts/series $(BASE)

tree: ## build/BASE/tree: a kernel git tree, one commit per patch, to edit
	@scripts/tree $(BASE)

export: ## bring the commits of that tree back into patches/ and the new files
	@scripts/export $(BASE)

lint: ## style, size and static checks: only new warnings fail
	@scripts/lint house $(BASE)

bisect: ## build after every patch of the series
	@scripts/bisect $(BASE)

update: ## take the newest kernel sources of the archive from now on
	@for base in $$(ls bases); do scripts/source update $$base; done

clean: ## remove build/ but for what was downloaded
	@scripts/clean
