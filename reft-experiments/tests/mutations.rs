//! Whatever bytes a file holds, reading it ends in a value or in one line that says what is wrong: no panic, no hang, no
//! memory beyond a bound.
//!
//! Valid files are mutated by a stream that begins at a random seed, which is printed. `REFT_MUTATIONS` says how many inputs
//! are tried (300 of each kind otherwise), `REFT_MUTATION_SEED` repeats a run.

#![cfg(feature = "program")]

mod mutated;
mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutated::bytes::mutate;
use mutated::kinds::{Kind, kinds};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reft_experiments::store::environment::peak_memory_mib;

/// Inputs of each kind that an ordinary test run tries.
const USUAL: u64 = 300;

/// Longest time that one input may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Memory that all inputs together may need at most, in MiB. Every model here is tiny.
const MEMORY_MIB: u64 = 3 << 10;

/// Characters of a message at most: a line, not a dump.
const LONGEST_MESSAGE: usize = 2000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a whole number")))
}

/// Another seed in every run.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// What became of the inputs of one kind.
#[derive(Default)]
struct Tally {
    read: u64,
    refused: u64,
    faults: Vec<String>,
}

/// The number of the input that is being tried, watched for hangs.
static CURRENT: AtomicU64 = AtomicU64::new(0);

/// Ends the process, with the input's number, when one takes too long.
fn watch(seed: u64) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = CURRENT.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                eprintln!("input {now} of seed {seed} hangs");
                std::process::exit(101);
            }
        }
    });
}

fn complaint(message: &str) -> Option<&'static str> {
    if message.contains('\n') {
        return Some("a message of several lines");
    }
    (message.chars().count() > LONGEST_MESSAGE).then_some("a message that is too long")
}

/// Tries one mutated file of a kind in a fresh copy of its folder.
fn attempt(kind: &Kind, rng: &mut ChaCha8Rng, tally: &mut Tally, name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    kind.lay_out(folder.path());
    let file = &kind.mutable[rng.next_u32() as usize % kind.mutable.len()];
    let path = folder.path().join(file);
    let whole = std::fs::read(&path).expect("a valid file");
    let bytes = mutate(&whole, rng);
    std::fs::write(&path, &bytes).expect("writable");
    let outcome = catch_unwind(AssertUnwindSafe(|| (kind.read)(folder.path())));
    let fault = match outcome {
        Ok(Ok(())) => {
            tally.read += 1;
            None
        }
        Ok(Err(message)) => {
            tally.refused += 1;
            complaint(&message).map(|what| format!("{what}: {message}"))
        }
        Err(panic) => Some(format!("a panic: {}", words(panic.as_ref()))),
    };
    if let Some(fault) = fault {
        let kept = keep(name, file, &bytes);
        tally.faults.push(format!("{name}, {file}: {fault} (kept as {kept})"));
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Keeps an input that did harm, for debugging.
fn keep(name: &str, file: &str, bytes: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
    let path = folder.join(format!("{}-{}", name.replace(' ', "-"), file.replace('/', "-")));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, bytes));
    written.map_or_else(|error| error.to_string(), |()| path.display().to_string())
}

#[test]
fn mutated_files_are_read_or_refused_in_one_line() {
    let seed = number("REFT_MUTATION_SEED").unwrap_or_else(fresh_seed);
    let kinds = kinds();
    let each = number("REFT_MUTATIONS").map_or(USUAL, |all| all.div_ceil(kinds.len() as u64));
    println!("seed {seed}, {each} inputs of each of {} kinds", kinds.len());
    std::panic::set_hook(Box::new(|_| ()));
    watch(seed);
    let began = Instant::now();
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for input in 0..each {
        for (place, kind) in kinds.iter().enumerate() {
            CURRENT.store(input * kinds.len() as u64 + place as u64, Ordering::Relaxed);
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (input << 8) ^ place as u64);
            let name = format!("{} {seed} {input}", kind.name);
            attempt(kind, &mut rng, tallies.entry(kind.name).or_default(), &name);
        }
    }
    let _ = std::panic::take_hook();
    let mut faults = Vec::new();
    for (kind, tally) in &mut tallies {
        println!("{kind}: {} read, {} refused, {} faults", tally.read, tally.refused, tally.faults.len());
        faults.append(&mut tally.faults);
    }
    let (peak, seconds) = (peak_memory_mib(), began.elapsed().as_secs_f64());
    println!("{} inputs in {seconds:.1} s, peak memory {peak} MiB", each * kinds.len() as u64);
    assert!(faults.is_empty(), "{} faults, seed {seed}:\n{}", faults.len(), faults.join("\n"));
    assert!(peak < MEMORY_MIB, "peak memory {peak} MiB, seed {seed}");
    for (kind, tally) in &tallies {
        assert!(tally.refused > 0 && tally.read + tally.refused == each, "{kind}: no input was refused");
    }
}
