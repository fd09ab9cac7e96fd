//! Object files of different instruction sets share no symbol: the linker would keep one copy for all processors.

use std::path::{Path, PathBuf};
use std::process::Command;

use reft_models::instruction_set::InstructionSet;

/// An archive of the build script.
fn archive(name: &str) -> PathBuf {
    Path::new(env!("OUT_DIR")).join(format!("lib{name}.a"))
}

/// Letters and names of the symbols that others may see, as `nm` gives them; none where there is no `nm`.
fn defined_symbols(archive: &Path) -> Option<Vec<(char, String)>> {
    let run = match Command::new("nm").args(["--extern-only", "--defined-only"]).arg(archive).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("NOT TESTED: there is no `nm` here, so that symbols of {} are not looked at", archive.display());
            return None;
        }
        run => run.expect("nm runs"),
    };
    assert!(run.status.success(), "{}: {}", archive.display(), String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).expect("symbols are ASCII");
    let symbol = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?.chars().next()?, words.next()?.to_owned()))
    };
    Some(text.lines().filter_map(symbol).collect())
}

/// Whether several objects may define it: weak, or unique in the whole process.
fn is_shared((letter, _): &(char, String)) -> bool {
    matches!(letter, 'W' | 'w' | 'V' | 'v' | 'u')
}

#[test]
fn the_kernels_of_an_instruction_set_share_no_symbol() {
    for set in InstructionSet::ALL {
        let archive = archive(&format!("reft_kernels_{}", set.name()));
        if !archive.exists() {
            assert!(!set.is_available() && !cfg!(target_arch = "x86_64"), "{} was not built", archive.display());
            continue;
        }
        let Some(symbols) = defined_symbols(&archive) else { return };
        let shared: Vec<_> = symbols.iter().filter(|symbol| is_shared(symbol)).collect();
        assert!(shared.is_empty(), "{}: {shared:?}", archive.display());
        // The three functions that the choice is made from, in the set's own namespace, and nothing else.
        let name = set.name();
        let foreign = |(_, symbol): &&(char, String)| !symbol.contains(&format!("reft{}{name}", name.len()));
        assert_eq!(symbols.iter().find(foreign), None, "{}", archive.display());
        assert_eq!(symbols.len(), 3, "{symbols:?}");
    }
}

#[test]
fn shared_symbols_would_be_found() {
    // libtorch's headers are full of inline functions.
    let Some(symbols) = defined_symbols(&archive("reft_autograd")) else { return };
    assert!(symbols.iter().any(is_shared));
}
