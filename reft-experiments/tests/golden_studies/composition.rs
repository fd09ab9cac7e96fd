//! Parts of one subspace, alone, together and in one batch.

use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, OverlapError, Step};
use reft_core::hooks::Hooks;
use reft_core::layout::{Extent, Layout};
use reft_core::params::ParamSet;
use reft_core::rng::Seed;
use reft_core::testing::{assert_close, golden_json, golden_tensors};
use reft_experiments::train::composed::{AssignedRow, Composed};
use reft_experiments::train::learner::{Learner, UpdateRules};
use reft_experiments::train::schedule::Schedule;
use reft_models::model::Decoder;
use serde_json::{Value, json};
use tch::Device;

use super::golden::{Tensors, examples};
use super::{CLOSE, TRAINED, build, ids, integers, list, model, number, put, run, text};

/// The parts in the order of their first rows, and the rows as text.
fn groups(index: &Value) -> Vec<(String, Vec<i64>)> {
    let groups = index["groups"].as_object().expect("groups");
    let mut groups: Vec<(String, Vec<i64>)> =
        groups.iter().map(|(name, rows)| (name.clone(), integers(rows))).collect();
    groups.sort_by_key(|(_, rows)| rows[0]);
    groups
}

/// Sets of interventions that share one subspace; strengths switch them on and off.
fn spec(index: &Value, intervention: &Value, strengths: &[f64]) -> Value {
    let set = |((_, rows), strength): (&(String, Vec<i64>), &f64)| {
        let (first, last) = (rows[0], rows[rows.len() - 1]);
        assert_eq!(last - first + 1, rows.len() as i64, "rows of a part follow one another");
        json!({"intervention": intervention, "rank": index["rank"], "layers": [index["layer"]],
            "component": index["component"], "positions": "l1", "strength": strength,
            "subspace": format!("[{first}..{})", last + 1)})
    };
    json!({ "refts": groups(index).iter().zip(strengths).map(set).collect::<Vec<_>>() })
}

fn free() -> Value {
    json!({"low_rank": {"basis": "free", "source": "affine", "difference": true}})
}

fn loaded(index: &Value, golden: &Tensors, spec: Value, model: &dyn Decoder) -> Box<dyn Adaptation> {
    let adaptation = build(spec, model);
    let site = format!("{}.{}.both", text(index, "component"), index["layer"]);
    for (name, letter) in [("basis", "R"), ("weight", "W"), ("bias", "b")] {
        put(adaptation.as_ref(), &format!("{site}.{name}"), &golden[letter]);
    }
    adaptation
}

/// The part whose rows these are.
fn part_of(index: &Value, rows: &Value) -> usize {
    let rows = integers(rows);
    groups(index).iter().position(|(_, other)| *other == rows).expect("one of the groups")
}

/// Which part each row of a batch trains in the trace with mixed batches.
fn mixed(index: &Value, batch: i64) -> Vec<usize> {
    let traces = list(index, "traces");
    let trace = traces.iter().find(|trace| trace["name"] == "mixed_batches").expect("a trace of mixed batches");
    let step = list(trace, "steps").iter().find(|step| step["batch"] == batch).expect("a step");
    list(step, "groups").iter().map(|rows| part_of(index, rows)).collect()
}

fn open() -> (Value, Tensors, Box<dyn Decoder>) {
    let index = golden_json("studies/composition/index.json");
    let golden = golden_tensors(&format!("studies/composition/{}", text(&index, "file")));
    let model = model(&index);
    (index, golden, model)
}

#[test]
fn parts_alone_and_together() {
    let (index, golden, model) = open();
    let lengths = integers(&index["lengths"]);
    let prompts = integers(&index["prompt_lengths"]);
    let rows = golden["input_ids"].unbind(0);
    let texts: Vec<Vec<i64>> = rows.iter().zip(&lengths).map(|(row, &len)| ids(&row.narrow(0, 0, len))).collect();
    let texts: Vec<&[i64]> = texts.iter().map(Vec::as_slice).collect();
    let extents: Vec<Extent> = lengths.iter().zip(&prompts).map(|(&len, &prompt)| Extent { len, prompt }).collect();
    let layout = Layout::packed(&extents);
    let check = |what: &str, strengths: &[f64], layout: &Layout| {
        let adaptation = loaded(&index, &golden, spec(&index, &"loreft".into(), strengths), model.as_ref());
        let step = adaptation.begin(Mode::Eval);
        let logits = run(model.as_ref(), layout, &texts, step.hooks(layout).expect("one subspace").as_ref());
        for (row, span) in layout.spans().iter().enumerate() {
            let expected = golden[what].get(row as i64).narrow(0, 0, span.len);
            assert_close(&format!("{what}, row {row}"), &logits.narrow(0, span.row, span.len), &expected, CLOSE);
        }
    };
    let count = groups(&index).len();
    check("base_logits", &vec![0.0; count], &layout);
    check("logits_both", &vec![1.0; count], &layout);
    for (part, (name, _)) in groups(&index).iter().enumerate() {
        let alone: Vec<f64> = (0..count).map(|other| if other == part { 1.0 } else { 0.0 }).collect();
        let name = format!("logits_{name}");
        check(&name, &alone, &layout);
        check(&name, &vec![1.0; count], &layout.clone().with_parts(&vec![part; texts.len()]));
    }
    check("logits_mixed", &vec![1.0; count], &layout.with_parts(&mixed(&index, 0)));
}

/// Rows of a batch with the part that each trains.
fn assigned(golden: &Tensors, batch: i64, parts: &[usize]) -> Vec<AssignedRow> {
    let rows = examples(golden, &format!("batch{batch}"));
    rows.into_iter().zip(parts).map(|(example, &part)| AssignedRow { example, part }).collect()
}

#[test]
fn gradients_of_free_matrices() {
    let (index, golden, model) = open();
    let count = groups(&index).len();
    for start in list(&index, "gradients_at_the_start") {
        let (which, batch) = (text(start, "groups"), start["batch"].as_i64().expect("a number"));
        let part = groups(&index).iter().position(|(name, _)| name == which);
        let rows = examples(&golden, &format!("batch{batch}")).len();
        let parts = part.map_or_else(|| mixed(&index, batch), |part| vec![part; rows]);
        let mut adaptation = loaded(&index, &golden, spec(&index, &free(), &vec![1.0; count]), model.as_ref());
        let mut objective = Composed { model: model.as_ref(), micro_tokens: 12 };
        let learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
        let batch = assigned(&golden, batch, &parts);
        let (loss, _) = learner.gradients(&batch.iter().collect::<Vec<_>>()).expect("finite");
        assert!((loss - number(start, "loss")).abs() < 1e-4, "{which}: loss {loss}, expected {}", start["loss"]);
        let mut first = 0;
        for letter in ["R", "W", "b"] {
            let expected = golden[&format!("gradient_{which}.{letter}")].flatten(0, -1);
            let numbers = expected.size()[0];
            let got = adaptation.params().flat().grad().narrow(0, first, numbers);
            assert_close(&format!("{which} {letter}"), &got, &expected, CLOSE);
            first += numbers;
        }
    }
}

/// An adaptation whose first stack, the basis, is not trained.
#[derive(Debug)]
struct FixedBasis(Box<dyn Adaptation>);

struct FixedStep<'a>(Box<dyn Step + 'a>, &'a ParamSet);

impl Adaptation for FixedBasis {
    fn params(&self) -> &ParamSet {
        self.0.params()
    }

    fn params_mut(&mut self) -> &mut ParamSet {
        self.0.params_mut()
    }

    fn named(&self) -> Vec<NamedTensor> {
        self.0.named()
    }

    fn begin(&self, mode: Mode) -> Box<dyn Step + '_> {
        Box::new(FixedStep(self.0.begin(mode), self.0.params()))
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.0.edits(layout)
    }

    fn frontier(&self) -> Frontier {
        self.0.frontier()
    }

    fn first_edited(&self, prompt: i64) -> Option<i64> {
        self.0.first_edited(prompt)
    }
}

impl Step for FixedStep<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        self.0.hooks(layout)
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.0.edits(layout)
    }

    fn backprop(self: Box<Self>) {
        let Self(step, params) = *self;
        step.backprop();
        let basis = &params.stacks()[0];
        let numbers = basis.sites * basis.declared.shape.iter().product::<i64>();
        let _ = params.flat().grad().narrow(0, 0, numbers).zero_();
    }
}

fn follow(trace: &Value, index: &Value, golden: &Tensors, model: &dyn Decoder) {
    let name = text(trace, "name");
    let ones = vec![1.0; groups(index).len()];
    let mut adaptation: Box<dyn Adaptation> = match name {
        "basis_fixed" => Box::new(FixedBasis(loaded(index, golden, spec(index, &free(), &ones), model))),
        _ => loaded(index, golden, spec(index, &"loreft".into(), &ones), model),
    };
    let steps = list(trace, "steps");
    let schedule = Schedule::linear(number(&steps[0], "lr"), 0.0, steps.len() as u64);
    let mut objective = Composed { model, micro_tokens: 12 };
    let mut learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
    for (place, step) in steps.iter().enumerate() {
        let parts: Vec<usize> = list(step, "groups").iter().map(|rows| part_of(index, rows)).collect();
        let batch = assigned(golden, step["batch"].as_i64().expect("a number"), &parts);
        let update = learner.update(&batch.iter().collect::<Vec<_>>(), schedule.at(place as u64)).expect("finite");
        for (what, got, expected) in
            [("loss", update.loss, number(step, "loss")), ("norm", update.norm, number(step, "grad_norm"))]
        {
            assert!((got - expected).abs() < 1e-4, "{name} step {place}: {what} {got}, expected {expected}");
        }
    }
    for (named, letter) in adaptation.named().iter().zip(["R", "W", "b"]) {
        assert_close(&format!("{name} {letter}"), &named.tensor, &golden[&format!("final_{name}.{letter}")], TRAINED);
    }
}

#[test]
fn traces_step_by_step() {
    let (index, golden, model) = open();
    // The Householder trace is another parametrisation's.
    let ours = list(&index, "traces").iter().filter(|trace| trace["name"] != "householder");
    for trace in ours {
        follow(trace, &index, &golden, model.as_ref());
    }
}

#[test]
fn parts_that_share_a_row_or_have_none_are_refused() {
    let (index, _, model) = open();
    let refused = |edit: &dyn Fn(&mut Value)| {
        let mut value = spec(&index, &"loreft".into(), &vec![1.0; groups(&index).len()]);
        edit(&mut value["refts"][1]);
        let spec: AdaptSpec = serde_json::from_value(value).expect("a specification");
        spec.build(model.dims(), Seed(0), Device::Cpu).map(|_| ()).expect_err("refused").to_string()
    };
    let shared = refused(&|set| set["subspace"] = "3..5".into());
    assert!(shared.contains("subspace 3..5: shares rows with subspace 0..4"), "{shared}");
    let beyond = refused(&|set| set["subspace"] = "4..9".into());
    assert!(beyond.contains("subspace 4..9: the rank is 8"), "{beyond}");
    let undivided = refused(&|set| set["intervention"] = "red".into());
    assert!(undivided.contains("RED has no rows to choose from"), "{undivided}");
    let head = refused(&|set| set["head"] = 0.into());
    assert!(head.contains("block_output has 0 heads"), "{head}");
}
