use super::*;
use crate::config::plan::Dtype;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    folder
}

fn error(text: &str, overrides: &[&str]) -> String {
    let folder = folder(&[("a.yaml", text)]);
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let error = run_plan(Some(&folder.path().join("a.yaml")), &overrides).expect_err("wrong").to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_type_left_to_the_machine_is_resolved_and_one_by_hand_is_kept() {
    let dtype = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
        run_plan(None, &set).expect("valid").dtype
    };
    let here = DtypeChoice::Auto.on(RunPlan::default().device);
    assert_eq!([dtype(&[]), dtype(&["dtype=auto"])], [here; 2]);
    assert_eq!([dtype(&["dtype=f16"]), dtype(&["dtype=bf16"])], [Dtype::F16, Dtype::Bf16]);
}

#[test]
fn a_file_extends_another_and_overrides_win() {
    let base = "model: smollm2\ntrain: {lr: 9e-4, epochs: 6}\nadapt:\n  reft: {intervention: loreft, rank: 8, positions: f7+l7}\n";
    let folder = folder(&[("base.yaml", base), ("a.yaml", "extends: base.yaml\ntrain:\n  epochs: 3\n")]);
    let set = ["train.lr=1e-3".to_owned(), "adapt.reft.rank=4".to_owned()];
    let plan = run_plan(Some(&folder.path().join("a.yaml")), &set).expect("valid");
    assert_eq!((plan.train.epochs, plan.train.lr), (3, 1e-3));
    let adapt = serde_json::to_value(plan.adapt).expect("plain data");
    assert_eq!((&adapt["reft"]["rank"], &adapt["reft"]["positions"]), (&4.into(), &"f7+l7".into()));
}

#[test]
fn a_saved_plan_reads_back_as_itself() {
    let set = ["adapt={reft: {intervention: direft, rank: 2, positions: l1, layers: '0;3'}}".to_owned()];
    let plan = run_plan(None, &set).expect("valid");
    let tree = serde_json::to_value(&plan).expect("plain data");
    assert_eq!(resolve(tree, "a test").expect("valid"), plan);
}

/// Words of parsers and of this program's types, which no message may have.
const OURS: [&str; 21] = [
    "enum",
    "struct",
    "variant",
    "untagged",
    "serde",
    "expected",
    "field",
    "tuple",
    "sequence",
    "mapping",
    "map",
    "EOF",
    "deserialize",
    "scalar",
    "node",
    "budget",
    "f64",
    "u64",
    "usize",
    "i64",
    "None",
];

/// The first such word in a message, if there is one.
fn ours(said: &str) -> Option<&str> {
    said.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| OURS.contains(word))
}

const ADAPT: &str = "adapt: {reft: {intervention: loreft, rank: 1, positions: l1}}\n";

#[test]
fn mistakes_are_named_with_file_line_key_and_remedy() {
    let reft = |change: &str| {
        format!("model: m\nadapt:\n  reft:\n    intervention: loreft\n    rank: 1\n    positions: l1\n    {change}\n")
    };
    let cases: [(String, &str); 44] = [
        (
            "train:\n  epochs: 2\n  lrr: 1\n".into(),
            "a.yaml:3: unknown key `train.lrr` (did you mean `lr`?): there is objective, epochs, lr,",
        ),
        ("train: {lr: fast}\n".into(), "a.yaml:1: train.lr: `fast` is not a number"),
        ("train: {lr: -1}\n".into(), "a.yaml:1: train.lr: -1 is not a learning rate: above 0"),
        ("train:\n  lr:\n".into(), "a.yaml:2: train.lr: has no value: write a number, or leave the key out"),
        ("train:\n  lr: [1e-3]\n".into(), "a.yaml:2: train.lr: a list is not a number"),
        ("train:\n  lr: .inf\n".into(), "a.yaml:2: train.lr: `.inf` is not a number"),
        ("train:\n  lr: 1e400\n".into(), "a.yaml:2: train.lr: 1e400 is too large"),
        ("train:\n  epochs: 1.5\n".into(), "a.yaml:2: train.epochs: 1.5 is not a whole number: write 1 or 2"),
        ("train:\n  epochs: -1\n".into(), "a.yaml:2: train.epochs: -1 is too small: at least 0"),
        ("train:\n  epochs: 0\n".into(), "a.yaml:2: train.epochs: 0 is too few: at least 1"),
        ("train:\n  batch_size: 010\n".into(), "a.yaml:2: train.batch_size: `010` may be read as octal: write 10"),
        (
            "train:\n  batch_size: 1e30\n".into(),
            "a.yaml:2: train.batch_size: 1000000000000000000000000000000 is too large",
        ),
        (
            "train:\n  frozen_cache: maybe\n".into(),
            "a.yaml:2: train.frozen_cache: `maybe` is no switch: write true or false",
        ),
        ("train: 5\n".into(), "a.yaml:1: train: 5 is not a section: write objective, epochs, lr,"),
        ("train: [1]\n".into(), "a.yaml:1: train: a list is not a section"),
        (
            "train.lr: 1e-3\n".into(),
            "a.yaml:1: unknown key `train.lr`: keys have no dots in a file: write `train: {lr: ...}`",
        ),
        ("seed: 7\ndata: {train: arc_e}\n".into(), "a.yaml:2: data.train: `arc_e` is not a list: write [arc_e]"),
        (
            "data:\n  train:\n    - arc_e\n    - obqq\n".into(),
            "a.yaml:4: data.train[1]: task `obqq` is unknown (did you mean `obqa`?)",
        ),
        ("data:\n  eval_split: trian\n".into(), "a.yaml:2: data.eval_split: `trian` is unknown: write dev or test"),
        ("data:\n  eval_split: test\n".into(), "a.yaml:2: data.eval_split.test: say how the setting was chosen"),
        (
            "data:\n  eval_split: {dev: {}, test: {}}\n".into(),
            "a.yaml:2: data.eval_split: `dev` and `test` cannot both be chosen",
        ),
        (
            "data: {template: chta}\n".into(),
            "a.yaml:1: data.template: `chta` is unknown (did you mean `chat`?): write task or chat",
        ),
        ("dtype: float32\n".into(), "a.yaml:1: dtype: "),
        ("device: gpu\n".into(), "a.yaml:1: device: device `gpu` is unknown: write cpu, cuda or cuda:1"),
        ("model:\n".into(), "a.yaml:1: model: has no value: write a text"),
        ("model: 1.5\n".into(), "a.yaml:1: model: 1.5 is a number: put it in quotes"),
        ("model: ${MODEL}\n".into(), "a.yaml:1: model: `${MODEL}`: variables of the environment are not replaced"),
        ("adapt: {lorra: {rank: 1}}\n".into(), "a.yaml:1: adapt: `lorra` is unknown"),
        ("adapt: {full: {rank: 1}}\n".into(), "a.yaml:1: unknown key `adapt.full.rank`: there are no settings here"),
        ("adapt: {full: {}, bitfit: {}}\n".into(), "a.yaml:1: adapt: `full` and `bitfit` cannot both be chosen"),
        ("adapt:\n  reft:\n    rank: 1\n".into(), "a.yaml:2: adapt.reft.intervention: is missing"),
        ("adapt: {refts: {rank: 1}}\n".into(), "a.yaml:1: adapt.refts: a section is not a list"),
        (
            reft("layers: first"),
            "a.yaml:7: adapt.reft.layers: layers `first` is not understood: write `all`, a list such as [0, 2, -1]",
        ),
        (reft("layers: [0, 0]"), "a.yaml:7: adapt.reft.layers: layer 0 is listed twice"),
        (reft("layers: [0.5]"), "a.yaml:7: adapt.reft.layers[0]: 0.5 is not a whole number"),
        (reft("layers: {from: 1}"), "a.yaml:7: adapt.reft.layers: layers `{...}` is not understood"),
        (reft("dropout: 0.1"), "a.yaml:7: adapt.reft.dropout: 0.1 is not a section: write p, on below it"),
        (reft("tying: yes"), "a.yaml:7: adapt.reft.tying: `yes` is unknown: write one of tied, untied, per_position"),
        (
            reft("component: blok_output"),
            "a.yaml:7: adapt.reft.component: `blok_output` is unknown (did you mean `block_output`?)",
        ),
        (ADAPT.replace("rank: 1", "rank: 2.5"), "a.yaml:1: adapt.reft.rank: 2.5 is not a whole number: write 2 or 3"),
        (ADAPT.replace("l1", "f0"), "a.yaml:1: adapt.reft.positions: positions `f0` is not understood"),
        (
            ADAPT.replace("loreft", "lorefr"),
            "a.yaml:1: adapt.reft.intervention: intervention `lorefr` is unknown (did you mean `loreft`?): choose one of loreft",
        ),
        ("- 1\n".into(), "a.yaml: no settings in this file: write `key: value` lines"),
        ("extends: a.yaml\n".into(), "a.yaml: `extends` comes back to this file"),
    ];
    for (text, expected) in &cases {
        let said = error(text, &[]);
        assert!(said.starts_with(expected), "`{expected}` is not at the start of: {said}");
        assert_eq!((ours(&said), said.lines().count()), (None, 1), "{said}");
    }
}

#[test]
fn numbers_that_no_run_can_have_are_refused() {
    for key in ["train.epochs", "train.batch_size", "eval.batch_size", "eval.max_new_tokens", "data.max_length"] {
        let said = error("", &[&format!("{key}=18446744073709551615")]);
        assert!(said.contains(&format!("{key}: 18446744073709551615 is more than any run can have")), "{said}");
    }
}

#[test]
fn a_key_or_a_value_of_several_lines_is_named_in_one() {
    for text in ["\"a\\nb\": 1\n", "data: {train: [\"x\\ny\"]}\n", "dtype: \"f\\r32\"\n"] {
        let said = error(text, &[]);
        assert!(!said.contains(char::is_control), "{said:?}");
    }
}

#[test]
fn mistakes_in_overrides_are_named_with_the_override() {
    let cases = [
        ("train.lrr=1", "--set train.lrr=1: unknown key `train.lrr` (did you mean `lr`?)"),
        ("train.lr=fast", "--set train.lr=fast: train.lr: `fast` is not a number"),
        ("train.lr", "--set train.lr: write key=value, such as train.lr=1e-3"),
        ("train..lr=1", "--set train..lr=1: write key=value"),
        ("data.eval=[arc_e", "--set data.eval=[arc_e: column "),
        ("train={lr: -1}", "--set train={lr: -1}: train.lr: -1 is not a learning rate"),
    ];
    for (set, expected) in cases {
        let said = error("train: {lr: 1}\n", &[set]);
        assert!(said.starts_with(expected), "`{expected}` is not at the start of: {said}");
        assert_eq!(ours(&said), None, "{said}");
    }
}

#[test]
fn idioms_of_other_files_mean_the_same() {
    let plain = "train: {epochs: 3, batch_size: 4, lr: 1e-3}\neval: {max_new_tokens: 2}\n";
    let plan = |text: &str| {
        let folder = folder(&[("a.yaml", text)]);
        run_plan(Some(&folder.path().join("a.yaml")), &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let expected = plan(plain);
    let same = [
        plain.replace("1e-3", "1E-3"),
        plain.replace("1e-3", "\"1e-3\""),
        plain.replace("1e-3", ".001"),
        plain.replace("epochs: 3", "epochs: 3.0"),
        plain.replace("epochs: 3", "epochs: '3'"),
        plain.replace("lr: 1e-3", "lr: 1e-3, frozen_cache: Yes"),
        plain.replace("lr: 1e-3", "lr: 1e-3, frozen_memory_mib: 4_096"),
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{plain}"),
        format!("---\n{plain}...\n"),
        format!("{plain}data:\nadapt:\n"),
        plain.replace("eval: {max_new_tokens: 2}", "eval:\n  max_new_tokens: 2\n  decoding:\n"),
        plain.replace("{epochs: 3, batch_size: 4, lr: 1e-3}", "\n  <<: {epochs: 3, batch_size: 4}\n  lr: 1e-3"),
        "x-common: &common {epochs: 3, batch_size: 4}\ntrain:\n  <<: *common\n  lr: 1e-3\neval: {max_new_tokens: 2}\n"
            .to_owned(),
    ];
    for text in &same {
        assert_eq!(plan(text), expected, "{text}");
    }
    let full = plan(&format!("{plain}adapt: full\n"));
    assert_eq!(full, plan(&format!("{plain}adapt: {{full: {{}}}}\n")));
    let reft = |layers: &str| plan(&format!("{plain}{}", ADAPT.replace("l1", &format!("l1, layers: {layers}")))).adapt;
    assert_eq!(reft("\"0;-1\""), reft("[-1, 0]"));
    assert_eq!(reft("-1"), reft("[-1.0]"));
}

#[test]
fn a_mistake_is_looked_for_in_the_file_that_has_it() {
    let child = "extends: base.yaml\ntrain:\n  lr: 1\n";
    let said = |base: &str, child: &str| {
        let folder = folder(&[("base.yaml", base), ("a.yaml", child)]);
        let error = run_plan(Some(&folder.path().join("a.yaml")), &[]).expect_err("wrong").to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    assert!(said("train:\n  epochs: no\n", child).starts_with("base.yaml:2: train.epochs: `no` is not a number"));
    assert!(said("train: {epochs: 1}\n", &child.replace("lr", "rl")).starts_with("a.yaml:3: unknown key `train.rl`"));
    assert!(said("a: [\n", child).starts_with("base.yaml:"));
    assert!(said("", "extends: [a]\n").starts_with("a.yaml:1: extends: a list is not a text"));
    assert!(said("", "extends: $DIR/b.yaml\n").starts_with("a.yaml:1: extends: `$DIR/b.yaml`: variables"));
    assert!(said("", "extends: other.yaml\n").starts_with("other.yaml: No such file"));
}

#[test]
fn another_encoding_is_said_to_be_one() {
    let folder = folder(&[]);
    let path = folder.path().join("a.yaml");
    let utf16: Vec<u8> = "train: {}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, [&[0xff, 0xfe][..], &utf16].concat()).expect("writable");
    let said = run_plan(Some(&path), &[]).expect_err("not UTF-8").to_string();
    assert!(said.ends_with("a.yaml: not UTF-8: save it as UTF-8"), "{said}");
}

#[test]
fn an_intervention_of_a_child_replaces_that_of_its_base_whatever_they_are() {
    let base = "adapt: {reft: {intervention: {low_rank: {basis: free, source: linear, difference: true}}, rank: 1, positions: l1}}\n";
    for intervention in ["{red: {}}", "loreft", "{low_rank: {basis: orthonormal}}"] {
        let child = format!("extends: base.yaml\nadapt: {{reft: {{intervention: {intervention}}}}}\n");
        let folder = folder(&[("base.yaml", base), ("a.yaml", &child)]);
        let plan = run_plan(Some(&folder.path().join("a.yaml")), &[]).unwrap_or_else(|error| panic!("{error}"));
        let written = crate::settings::yaml::parse(intervention).expect("valid").tree;
        let adapt = serde_json::to_value(plan.adapt).expect("plain data");
        let read = &adapt["reft"]["intervention"];
        let kept = written.as_object().is_none_or(|written| written.keys().all(|key| read.get(key).is_some()));
        assert!(kept && read.as_object().is_none_or(|read| read.len() == 1), "{intervention}: {read}");
    }
}
