//! Conformance: every family of models that is read × every adaptation and every intervention in the tables, on tiny models
//! with random weights. A new family or method is covered by being registered.
//!
//! Prints every combination with its time. `cargo test -p reft-models --test conformance -- llama reft` runs the combinations
//! whose line has all of these words.

mod checks;
mod fixture;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use reft_core::adapt_config::AdaptMethod;
use reft_core::adaptations::reft::ReftSpec;
use reft_core::method::{self, InterventionSpec};
use reft_core::{AdaptSpec, adaptations, interventions};
use reft_models::families::families;
use serde_json::json;

use checks::Case;
use fixture::Fixture;

/// An adaptation to be tested.
struct Subject {
    name: String,
    spec: AdaptSpec,
    /// Whether the adapted model is the base model with fresh parameters.
    starts_as_base: bool,
}

/// The examples of both tables, and everything that has a name.
fn subjects() -> Vec<Subject> {
    let of_table = adaptations::registry().entries().iter().map(|entry| Subject {
        name: entry.key.to_owned(),
        spec: entry.example.clone(),
        starts_as_base: entry.starts_as_base,
    });
    let with = |intervention| AdaptSpec::new(ReftSpec { intervention, ..ReftSpec::example() });
    let spelled = interventions::registry().entries().iter().map(|entry| Subject {
        name: format!("reft {{{}}}", entry.key),
        spec: with(InterventionSpec::Spelled(entry.example.clone())),
        starts_as_base: entry.starts_as_identity,
    });
    let named = method::named().map(|name| Subject {
        name: format!("reft {}", name.key),
        spec: with(InterventionSpec::Named(name)),
        starts_as_base: interventions::registry().find(name.phi.key()).expect("registered").starts_as_identity,
    });
    let begun = [true, false].map(|difference| {
        let phi = json!({"low_rank": {"basis": "orthonormal", "source": "affine", "difference": difference, "start": "identity"}});
        let name = format!("reft {phi}");
        Subject { name, spec: with(serde_json::from_value(phi).expect("valid")), starts_as_base: true }
    });
    // An interchange has no effect without another run to take states from; `golden_studies` covers it.
    let alone = |subject: &Subject| {
        let sets = subject.spec.interventions();
        sets.iter().all(|set| !set.intervention.phi().as_intervention().takes_source())
    };
    of_table.chain(spelled).chain(named).chain(begun).filter(alone).collect()
}

#[derive(Default)]
struct Tally {
    passed: Vec<String>,
    failed: Vec<String>,
}

/// Runs what may panic and prints a line.
fn run(line: &str, tally: &mut Tally, check: impl FnOnce()) {
    let began = Instant::now();
    // A check that fails leaves gradients switched off.
    let outcome = catch_unwind(AssertUnwindSafe(|| tch::with_grad(check)));
    let (word, list) = match outcome {
        Ok(()) => ("ok", &mut tally.passed),
        Err(_) => ("FAILED", &mut tally.failed),
    };
    println!("{line:<44} {word:<7} {:6.2} s", began.elapsed().as_secs_f64());
    list.push(line.to_owned());
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|panic| {
        let reason = panic.payload_as_str().unwrap_or("no reason given");
        println!("    {}: {}", panic.location().expect("known"), reason.lines().next().unwrap_or_default());
    }));
    // Tensors of a few hundred values: more threads would wait for one another.
    tch::set_num_threads(1);
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |line: &str| words.iter().all(|word| line.contains(word.as_str()));
    let (began, mut tally, subjects) = (Instant::now(), Tally::default(), subjects());
    println!("each combination: {}", checks::NAMES.join("; "));
    for family in families() {
        let fixture = Fixture::new(&family);
        let unused = format!("{}, no adaptation", family.key);
        if chosen(&unused) {
            run(&unused, &mut tally, || checks::unused_hooks_change_no_bit(&fixture));
        }
        for subject in &subjects {
            let line = format!("{}, {}", family.key, subject.name);
            if !chosen(&line) {
                continue;
            }
            match Case::new(&fixture, &subject.spec, subject.starts_as_base) {
                Ok(case) => run(&line, &mut tally, || checks::all(&case)),
                Err(reason) => println!("{line:<44} not for this model: {reason}"),
            }
        }
    }
    for subject in subjects.iter().filter(|_| words.is_empty()) {
        let covered =
            tally.passed.iter().chain(&tally.failed).any(|line| line.ends_with(&format!(", {}", subject.name)));
        if !covered {
            println!("{}: its example fits no model", subject.name);
            tally.failed.push(subject.name.clone());
        }
    }
    let (passed, failed, seconds) = (tally.passed.len(), tally.failed.len(), began.elapsed().as_secs_f64());
    println!("conformance: {passed} combinations passed, {failed} failed; {seconds:.1} s");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
