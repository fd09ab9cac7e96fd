# Every target sets up what it needs. `make help` lists them.
PROFILE ?= quick
TABLE ?= 1
TABLES := table1 table2 table3 table4 table13 table14 table15 table16 table17 where-or-how
STUDIES := composition style
FIGURES := figure1 figure2 figure3 figure4 figure5 figure6 figure7 figure8 figure9 figure10 figure11
REFT := cargo run -q -p reft-experiments --bin reft --

.PHONY: help setup model build demo $(TABLES) $(FIGURES) $(STUDIES) figures das plan report bench test test-slurm
.PHONY: test-interop golden lint clean

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## Install libtorch into .venv and tell cargo where it is
	@scripts/setup.sh

model: setup ## Fetch the default models into the user's cache (MODEL=gemma3-270m: that one, under Google's Gemma terms)
	@scripts/model.sh $(MODEL)

build: setup ## Compile everything
	cargo build --workspace

table1: ## Make Table 1, commonsense (PROFILE=quick, small or paper; METHODS=all or names: LoRA and others too; COST=1)
table2: ## Make Table 2, arithmetic (PROFILE=quick, small or paper)
table3: ## Make Table 3, instructions (PROFILE=quick, small or paper)
table4: ## Make Table 4, GLUE, mean (PROFILE=quick, small or paper)
table13: ## Make Table 13, GLUE, mean and deviation (PROFILE=quick, small or paper)
table14: ## Make Table 14, commonsense in 3 epochs (PROFILE=quick or paper)
table15: ## Make Table 15, arithmetic in 3 epochs (PROFILE=quick or paper)
table16: ## Make Table 16, GLUE, median (PROFILE=quick, small or paper)
table17: ## Make Table 17, ablations (PROFILE=quick or paper)
where-or-how: ## Make the table of where and how edits act (PROFILE=quick or small)

$(TABLES): model
	@echo "compiling (several minutes the first time)"
	@cargo build -q -p reft-experiments
	$(REFT) table configs/tables/$@.yaml --profile $(PROFILE) $(if $(METHODS),--methods '$(METHODS)') $(if $(COST),--cost)

figure1: ## Make Figure 1, parameters against score, from the tables' runs (PROFILE=quick, commonsense, small or paper)
figure2: ## Make Figure 2, the edits of a prompt
figure3: ## Make Figure 3, recovery of the book, 7B (PROFILE=quick, small, paper or as_run)
figure4: ## Make Figure 4, the same, 13B (PROFILE=paper or as_run; with the default model it is figure 3)
figure5: ## Make Figure 5, recovery of shuffled words, 7B
figure6: ## Make Figure 6, the same, 13B (likewise figure 5)
figure7: ## Make Figure 7, recovery of random tokens, 7B
figure8: ## Make Figure 8, the same, 13B (likewise figure 7)
figure9: ## Make Figure 9, pairs in one edit, 7B
figure10: ## Make Figure 10, the same, 13B (likewise figure 9)
figure11: ## Make Figure 11, overhead of edits (PROFILE=quick or paper)

composition: ## Study of composition (G.1): two parts of one subspace alone and together
style: ## Study of style (G.2): five examples

$(STUDIES): model
	@cargo build -q -p reft-experiments
	$(REFT) figure configs/studies/$@.yaml --profile $(PROFILE)

das: setup ## Find a planted variable in a tiny network (distributed alignment search)
	$(REFT) das equality --overwrite --out results/$(PROFILE)/das --network target/das-network
	$(REFT) das equality --overwrite --variable both --out results/$(PROFILE)/das-both --network target/das-network

$(FIGURES): model
	@cargo build -q -p reft-experiments
	$(REFT) figure configs/figures/$@.yaml --profile $(PROFILE)

figures: $(FIGURES) $(STUDIES) ## Make all figures

plan: setup ## List and check the runs of a table without running them (TABLE=1, 2, ..; PROFILE)
	$(REFT) table configs/tables/table$(TABLE).yaml --profile $(PROFILE) $(if $(METHODS),--methods '$(METHODS)') --dry-run

report: setup ## Make a page about runs, sweeps and tables (report/index.html; OUT, RUNS)
	$(REFT) report $(if $(RUNS),--runs $(RUNS)) $(if $(OUT),--out $(OUT))

demo: model ## Teach the default model a style with twenty examples, in a minute or two
	@echo "compiling (several minutes the first time)"
	@cargo build -q -p reft-experiments
	$(REFT) train --data pirate --layers '[12]' --epochs 25 --set eval.max_new_tokens=24 --out target/demo-adapter --overwrite

bench: model ## Compare speed and memory with pyreft, in one run (installs it into .venv-peer, 5 GB)
	@scripts/peer.sh
	cargo build -q -p reft-experiments
	$(REFT) bench
	cargo bench -q --profile dev -p reft-experiments --bench micro

test: model ## Run all tests
	cargo test --workspace

test-slurm: model ## Test sweeps on a Slurm of one node that this starts (root; slurmctld, slurmd, slurm-client)
	@scripts/slurm.sh start target/slurm
	SLURM_CONF=$(CURDIR)/target/slurm/slurm.conf cargo test -p reft-experiments --test slurm; status=$$?; \
		scripts/slurm.sh stop target/slurm; exit $$status

test-interop: model ## Load what the program exports by peft's and pyreft's own classes (PYTHON with both; GOLDEN=<dir> for other cases)
	cargo build -q -p reft-experiments
	$(or $(PYTHON),.venv-peer/bin/python) scripts/interop.py --golden $(or $(GOLDEN),tests/golden)

golden: model ## Run the tests against the reference implementations (REFT_GOLDEN=<dir> for other cases)
	cargo test --workspace golden

lint: setup ## Check formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

clean: ## Remove build products (results, runs and downloads stay)
	cargo clean
