//! The sources as they are written: every type has a name of its own, folders import one way, and the arrows that
//! `ARCHITECTURE.md` draws are those of the imports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

const CRATES: [&str; 3] = ["reft-core", "reft-models", "reft-experiments"];

/// Names that stand in every command, as clap's users write them.
const CONVENTIONS: [&str; 1] = ["Args"];

type Graph = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every source file of a crate, by its modules from the crate's root on, without what stands there for tests only.
fn sources(krate: &str) -> BTreeMap<Vec<String>, String> {
    let src = root().join(krate).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Some(name) = path.strip_prefix(&src).expect("below").to_str().and_then(|name| name.strip_suffix(".rs"))
            else {
                continue;
            };
            let mut modules: Vec<String> = name.split('/').map(str::to_owned).collect();
            if modules.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
                modules.pop();
            }
            if modules == ["main"] || modules.last().is_some_and(|last| last == "tests") {
                continue;
            }
            found.insert(modules, without_tests(&std::fs::read_to_string(&path).expect("text")));
        }
    }
    assert!(found.len() > 20, "{krate} has {} files", found.len());
    found
}

/// A file without comments and without its module of tests.
fn without_tests(text: &str) -> String {
    let comments = Regex::new(r"//[^\n]*").expect("valid");
    let tests = Regex::new(r"(?s)#\[cfg\(test\)\]\n(pub(\(crate\))? )?mod \w+ \{.*?\n\}\n").expect("valid");
    tests.replace_all(&comments.replace_all(text, ""), "").into_owned()
}

/// The paths of a use tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.chars().filter(|c| !c.is_whitespace()).collect()];
    };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inside.trim_end().strip_suffix('}').expect("braces are closed").chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("not empty").push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expanded(part)).map(|path| format!("{}{path}", before.trim())).collect()
}

/// Every path of a file that may lead to another of its crate: imports, and paths that are written out.
fn paths(text: &str) -> Vec<String> {
    let imports = Regex::new(r"(?m)^\s*(?:pub(?:\([\w: ]+\))? )?use ([\w:{}*,\s]+);").expect("valid");
    let written = Regex::new(r"\b(?:crate|super|self)(?:::\w+)+").expect("valid");
    let mut found: Vec<String> = imports.captures_iter(text).flat_map(|import| expanded(&import[1])).collect();
    let rest = imports.replace_all(text, "");
    found.extend(written.find_iter(&rest).map(|path| path.as_str().to_owned()));
    found
}

/// The module of the crate that a path of this module leads into, if it is one.
fn target(module: &[String], path: &str, files: &BTreeMap<Vec<String>, String>) -> Option<Vec<String>> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let mut full: Vec<String> = match parts[0] {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => {
            let child: Vec<String> = module.iter().cloned().chain([parts[0].to_owned()]).collect();
            return files.contains_key(&child).then_some(child);
        }
    };
    while parts.first().is_some_and(|part| ["crate", "self", "super"].contains(part)) {
        if parts.remove(0) == "super" {
            full.pop();
        }
    }
    let base = full.len();
    full.extend(parts.iter().map(|&part| part.to_owned()));
    (base.max(1)..=full.len()).rev().map(|length| full[..length].to_vec()).find(|module| files.contains_key(module))
}

/// Which file of a crate imports from which, by their modules.
fn imports(krate: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let files = sources(krate);
    let mut found = Vec::new();
    for (module, text) in files.iter().filter(|(module, _)| !module.is_empty()) {
        for path in paths(text) {
            if let Some(target) = target(module, &path, &files).filter(|target| target != module) {
                found.push((module.clone(), target));
            }
        }
    }
    found
}

/// The nodes that lie on a circle.
fn circles(graph: &Graph) -> BTreeSet<String> {
    let reaches_itself = |start: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(node) = open.pop() {
            for next in graph.get(node).into_iter().flatten() {
                if next == start {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    graph.keys().filter(|node| reaches_itself(node)).cloned().collect()
}

#[test]
fn every_type_has_a_name_of_its_own() {
    let definition = Regex::new(
        r"(?m)^\s*pub(?:\([\w: ]+\))? (?:struct|enum|trait|type) ([A-Z]\w*)|^\s*(?:struct|enum|trait) ([A-Z]\w*)|^type ([A-Z]\w*)",
    )
    .expect("valid");
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for krate in CRATES {
        for (module, text) in sources(krate) {
            for found in definition.captures_iter(&text) {
                let name = (1..4).find_map(|group| found.get(group)).expect("one of them").as_str();
                places.entry(name.to_owned()).or_default().push(format!("{krate}::{}", module.join("::")));
            }
        }
    }
    assert!(places.len() > 500, "{} types were found", places.len());
    places.retain(|name, places| places.len() > 1 && !CONVENTIONS.contains(&name.as_str()));
    assert!(places.is_empty(), "defined more than once: {places:#?}");
}

/// The arrows between the modules at a crate's root.
fn folders(krate: &str) -> Graph {
    let mut graph = Graph::new();
    for (from, to) in imports(krate) {
        if from[0] != to[0] {
            graph.entry(from[0].clone()).or_default().insert(to[0].clone());
        }
    }
    graph
}

#[test]
fn folders_import_one_way_as_the_drawing_says() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for krate in CRATES {
        let graph = folders(krate);
        assert!(circles(&graph).is_empty(), "{krate}: {:#?}", circles(&graph));
        let start = format!("```text\n{krate}\n");
        let (_, drawing) = page.split_once(&start).expect("a drawing of each crate");
        let (drawing, _) = drawing.split_once("```").expect("its end");
        let arrow = |line: &str| {
            let (from, to) = line.split_once("->").expect("an arrow in each line");
            (from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect())
        };
        let drawn: Graph = drawing.lines().map(arrow).collect();
        assert_eq!(drawn, graph, "{krate}: draw it as it is:\n{}", drawing_of(&graph));
    }
}

/// A `mod.rs` may name its children and they it, as one file would.
#[test]
fn files_import_one_way_but_for_a_module_and_its_children() {
    for krate in CRATES {
        let mut graph = Graph::new();
        for (from, to) in imports(krate) {
            if !from.starts_with(&to) && !to.starts_with(&from) {
                graph.entry(from.join("::")).or_default().insert(to.join("::"));
            }
        }
        let circle = circles(&graph);
        graph.retain(|from, _| circle.contains(from));
        for to in graph.values_mut() {
            to.retain(|to| circle.contains(to));
        }
        assert!(circle.is_empty(), "{krate}: files that import each other: {graph:#?}");
    }
}

/// As the page draws it.
fn drawing_of(graph: &Graph) -> String {
    let line = |(from, to): (&String, &BTreeSet<String>)| {
        format!("{from} -> {}", to.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    };
    graph.iter().map(line).collect::<Vec<_>>().join("\n")
}
