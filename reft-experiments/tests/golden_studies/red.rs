//! The constant edit of the memorisation studies, and RED.

use reft_core::adaptation::{Adaptation, Mode};
use reft_core::testing::{assert_close, golden_json, golden_tensors};
use reft_experiments::data::encode::Example;
use reft_experiments::train::causal::Causal;
use reft_experiments::train::frozen::FrozenForward;
use reft_experiments::train::learner::{Learner, UpdateRules};
use reft_experiments::train::schedule::Schedule;
use reft_models::model::Decoder;
use serde_json::{Value, json};

use super::golden::{Tensors, examples};
use super::{CLOSE, TRAINED, build, greedy, ids, list, model, number, prompt_logits, put, text};

/// Replays a trace of updates: learning rate, loss and gradient norm of each.
fn follow(
    steps: &[Value],
    batches: &[Vec<Example>],
    schedule: Schedule,
    model: &dyn Decoder,
    adaptation: &mut dyn Adaptation,
) {
    let mut objective = Causal::new(model, FrozenForward::off(model), 20);
    let mut learner = Learner::new(&mut objective, adaptation, UpdateRules::default());
    for (place, step) in steps.iter().enumerate() {
        let batch: Vec<&Example> = batches[place % batches.len()].iter().collect();
        let lr = schedule.at(place as u64);
        assert!((lr - number(step, "lr")).abs() < 1e-9, "learning rate {lr} at {step}");
        let update = learner.update(&batch, lr).expect("finite");
        assert!((update.loss - number(step, "loss")).abs() < 1e-4, "loss {} at {step}", update.loss);
        assert!((update.norm - number(step, "grad_norm")).abs() < 1e-4, "norm {} at {step}", update.norm);
    }
}

/// Loss, gradient of R and b, with R as a free matrix.
fn free_gradient(case: &Value, golden: &Tensors, model: &dyn Decoder, example: &Example) {
    let spec = json!({"reft": {"intervention": {"low_rank": {"basis": "free", "source": "constant", "difference": true}},
        "rank": case["rank"], "layers": [case["layer"]], "component": case["component"], "positions": "l1"}});
    let mut adaptation = build(spec, model);
    let site = format!("{}.{}.both", text(case, "component"), case["layer"]);
    put(adaptation.as_ref(), &format!("{site}.basis"), &golden["R_initial"]);
    put(adaptation.as_ref(), &format!("{site}.bias"), &golden["b_initial"]);
    let mut objective = Causal::new(model, FrozenForward::off(model), 64);
    let learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
    let (loss, _) = learner.gradients(&[example]).expect("finite");
    let expected = number(&case["first_step"], "loss");
    assert!((loss - expected).abs() < 1e-4, "loss {loss}, expected {expected}");
    let flat = adaptation.params().flat().grad();
    let numbers = golden["gradient.R"].numel() as i64;
    let (r, b) = (flat.narrow(0, 0, numbers), flat.narrow(0, numbers, flat.size()[0] - numbers));
    assert_close("gradient of R", &r, &golden["gradient.R"].flatten(0, -1), CLOSE);
    assert_close("gradient of b", &b, &golden["gradient.b"], CLOSE);
}

#[test]
fn the_constant_edit_of_the_last_prompt_token() {
    let case = golden_json("studies/red/consreft.json");
    let golden = golden_tensors(&format!("studies/red/{}", text(&case, "file")));
    let model = model(&case);
    let (prompt, target) = (ids(&golden["prompt_ids"]), ids(&golden["target_ids"]));
    let whole = [prompt.clone(), target].concat();
    let example = Example { ids: whole, prompt: prompt.len(), name: "the text".to_owned(), lost: 0 };
    free_gradient(&case, &golden, model.as_ref(), &example);
    let spec = json!({"reft": {"intervention": "consreft", "rank": case["rank"], "layers": [case["layer"]],
        "component": case["component"], "positions": "l1"}});
    let mut adaptation = build(spec, model.as_ref());
    let site = format!("{}.{}.both", text(&case, "component"), case["layer"]);
    let load = |adaptation: &dyn Adaptation, state: &str| {
        put(adaptation, &format!("{site}.basis"), &golden[&format!("R_{state}")]);
        put(adaptation, &format!("{site}.bias"), &golden[&format!("b_{state}")]);
    };
    let says = |adaptation: &dyn Adaptation, when: &str| {
        let step = adaptation.begin(Mode::Eval);
        let logits = prompt_logits(model.as_ref(), &prompt, step.as_ref());
        assert_close(when, &logits, &golden[&format!("logits_{when}")], CLOSE);
        let expected = super::integers(&case["tokens"][when]);
        let got = greedy(model.as_ref(), std::slice::from_ref(&prompt), Some(step.as_ref()), expected.len());
        assert_eq!(got, [expected], "{when}");
    };
    load(adaptation.as_ref(), "initial");
    says(adaptation.as_ref(), "before");
    let steps = list(&case["trace_cholesky_qr"], "steps");
    let schedule = Schedule::linear(number(&steps[0], "lr"), 0.0, steps.len() as u64);
    follow(steps, &[vec![example]], schedule, model.as_ref(), adaptation.as_mut());
    for (named, letter) in adaptation.named().iter().zip(["R", "b"]) {
        assert_close(&named.name, &named.tensor, &golden[&format!("{letter}_final_cholesky_qr")], TRAINED);
    }
    for when in ["cholesky_qr", "householder"] {
        load(adaptation.as_ref(), &format!("final_{when}"));
        says(adaptation.as_ref(), &format!("after_{when}"));
    }
}

fn red(case: &Value) {
    let golden = golden_tensors(&format!("studies/red/{}", text(case, "file")));
    let model = model(case);
    let spec = || {
        json!({"reft": {"intervention": "red", "rank": 1, "layers": case["layers"], "component": case["component"],
            "positions": "all"}})
    };
    let given = build(spec(), model.as_ref());
    let golden_name = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        format!("layer{}.{}", parts[1], parts[3])
    };
    for named in given.named() {
        put(given.as_ref(), &named.name, &golden[&golden_name(&named.name)]);
    }
    let step = given.begin(Mode::Eval);
    let prompts: Vec<Vec<i64>> =
        (0..list(case, "tokens").len()).map(|index| ids(&golden[&format!("prompt{index}.ids")])).collect();
    for (index, prompt) in prompts.iter().enumerate() {
        let logits = prompt_logits(model.as_ref(), prompt, step.as_ref());
        assert_close("logits", &logits, &golden[&format!("prompt{index}.logits")], CLOSE);
    }
    let expected: Vec<Vec<i64>> = list(case, "tokens").iter().map(super::integers).collect();
    assert_eq!(greedy(model.as_ref(), &prompts, Some(step.as_ref()), expected[0].len()), expected);
    drop(step);

    let mut trained = build(spec(), model.as_ref());
    let batches: Vec<Vec<Example>> = (0..2).map(|index| examples(&golden, &format!("batch{index}"))).collect();
    let steps = list(case, "trace");
    // Two warm-up steps, as the index says; the peak is the largest learning rate.
    let peak = steps.iter().map(|step| number(step, "lr")).fold(0.0, f64::max);
    let warmup = steps.iter().position(|step| number(step, "lr") >= peak).expect("a peak");
    let schedule = Schedule::linear(peak, warmup as f64 / steps.len() as f64, steps.len() as u64);
    follow(steps, &batches, schedule, model.as_ref(), trained.as_mut());
    for named in trained.named() {
        let expected = &golden[&format!("final.{}", golden_name(&named.name))];
        assert_close(&named.name, &named.tensor, expected, TRAINED);
    }
}

#[test]
fn scales_and_biases_of_every_layer() {
    let index = golden_json("studies/red/index.json");
    list(&index, "cases").iter().for_each(red);
}
