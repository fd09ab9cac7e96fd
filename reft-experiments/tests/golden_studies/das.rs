//! DAS: gradient at the start, and 20 updates of R.

use reft_core::hooks::{Chain, Collect, NoHooks};
use reft_core::interventions::interchange::Interchange;
use reft_core::layout::{Extent, Layout};
use reft_core::site::{LayerId, Site};
use reft_core::testing::{assert_close, golden_json, golden_tensors};
use reft_experiments::train::interchange::{Counterfactual, Interchanges, SourceRun};
use reft_experiments::train::learner::{Learner, UpdateRules};
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use serde_json::{Value, json};
use tch::{Device, Kind, Reduction, Tensor};

use super::golden::Tensors;
use super::{CLOSE, TRAINED, build, ids, list, model, number, put, run};

/// The pairs of one batch.
fn batch(index: &Value, tensors: &Tensors, batch: u64) -> Vec<Counterfactual> {
    let rows = |name: &str| tensors[&format!("batch{batch}.{name}_ids")].unbind(0);
    let position = |key: &str| vec![index[key].as_i64().expect("a position")];
    let pairs = rows("base").into_iter().zip(rows("source")).zip(ids(&tensors[&format!("batch{batch}.labels")]));
    pairs
        .map(|((base, source), label)| Counterfactual {
            base: ids(&base),
            sources: vec![SourceRun {
                part: 0,
                ids: ids(&source),
                base_positions: position("base_position"),
                source_positions: position("source_position"),
            }],
            label,
            name: format!("batch {batch}"),
        })
        .collect()
}

fn site(index: &Value) -> Site {
    let component = serde_json::from_value(index["component"].clone()).expect("a component");
    Site { layer: LayerId(index["layer"].as_u64().expect("a layer") as usize), component }
}

/// Loss, logits and gradient with R as a free matrix: two runs and eq. 1 written out.
fn with_a_free_basis(
    model: &dyn Decoder,
    site: Site,
    pairs: &[Counterfactual],
    basis: &Tensor,
) -> (f64, Tensor, Tensor) {
    let layout_of = |sequences: &[&[i64]]| {
        let extent = |ids: &&[i64]| Extent { len: ids.len() as i64, prompt: ids.len() as i64 };
        Layout::packed(&sequences.iter().map(extent).collect::<Vec<_>>())
    };
    let rows = |layout: &Layout, positions: &dyn Fn(&SourceRun) -> i64| {
        let row =
            |(index, pair): (usize, &Counterfactual)| layout.row(index, positions(&pair.sources[0])).expect("there");
        Tensor::from_slice(&pairs.iter().enumerate().map(row).collect::<Vec<_>>())
    };
    let sources: Vec<&[i64]> = pairs.iter().map(|pair| pair.sources[0].ids.as_slice()).collect();
    let layout = layout_of(&sources);
    let collect = Collect::new(vec![site]);
    let _ = run(model, &layout, &sources, &Chain(vec![Box::new(NoHooks), Box::new(&collect)]));
    let source = collect.into_states()[&site].index_select(0, &rows(&layout, &|source| source.source_positions[0]));
    let bases: Vec<&[i64]> = pairs.iter().map(|pair| pair.base.as_slice()).collect();
    let layout = layout_of(&bases);
    let basis = basis.copy().set_requires_grad(true);
    let rows = rows(&layout, &|source| source.base_positions[0]);
    let hooks = Interchange { site, rows, source, basis: basis.shallow_clone() };
    let mut pass = Pass { layout: &layout, hooks: &hooks, cache: PastKeyValues::None, wanted: None };
    let h = model.hidden(&layout.place(&bases, Device::Cpu), &mut pass);
    let logits = model.logits(&h.index_select(0, &Tensor::from_slice(&layout.last_rows())));
    let labels = Tensor::from_slice(&pairs.iter().map(|pair| pair.label).collect::<Vec<_>>());
    let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    loss.backward();
    (loss.double_value(&[]), logits.detach(), basis.grad())
}

#[test]
fn the_first_step_with_a_free_basis() {
    let index = golden_json("studies/das/index.json");
    let tensors = golden_tensors("studies/das/das.safetensors");
    let model = model(&index);
    for step in list(&index, "first_step") {
        let which = step["batch"].as_u64().expect("a number");
        let pairs = batch(&index, &tensors, which);
        let (loss, logits, gradient) = with_a_free_basis(model.as_ref(), site(&index), &pairs, &tensors["R_initial"]);
        assert!((loss - number(step, "loss")).abs() < 1e-4, "loss {loss}, expected {}", step["loss"]);
        assert!((gradient.norm().double_value(&[]) - number(step, "gradient_norm")).abs() < 1e-4);
        assert_close("logits", &logits, &tensors[&format!("batch{which}.logits")], CLOSE);
        assert_close("gradient", &gradient, &tensors[&format!("batch{which}.gradient")], CLOSE);
    }
}

#[test]
fn updates_of_the_basis_step_by_step() {
    let index = golden_json("studies/das/index.json");
    let tensors = golden_tensors("studies/das/das.safetensors");
    let (model, site) = (model(&index), site(&index));
    let spec = json!({"reft": {"intervention": "dii", "rank": index["rank"], "positions": "given",
        "layers": [site.layer.0], "component": index["component"]}});
    let mut adaptation = build(spec, model.as_ref());
    put(adaptation.as_ref(), &format!("{site}.both.basis"), &tensors["R_initial"]);
    let steps = list(&index["trace_cholesky_qr"], "steps");
    let rules = UpdateRules { clip: f64::INFINITY, ..UpdateRules::default() };
    let mut objective = Interchanges { model: model.as_ref() };
    let mut learner = Learner::new(&mut objective, adaptation.as_mut(), rules);
    for step in steps {
        let pairs = batch(&index, &tensors, step["batch"].as_u64().expect("a number"));
        let accuracy = learner.objective.accuracy(&*learner.adaptation, &pairs, 4).expect("disjoint");
        assert!((accuracy - number(step, "interchange_accuracy")).abs() < 1e-9, "accuracy {accuracy} at {step}");
        let update = learner.update(&pairs.iter().collect::<Vec<_>>(), 1e-2).expect("finite");
        assert!((update.loss - number(step, "loss")).abs() < 1e-4, "loss {} at {step}", update.loss);
        assert!((update.norm - number(step, "gradient_norm")).abs() < 1e-4, "norm {} at {step}", update.norm);
    }
    let trained = adaptation.named().remove(0).tensor;
    assert_close("R", &trained, &tensors["R_final_cholesky_qr"], TRAINED);
    let moved = (trained - &tensors["R_initial"]).abs().max().to_kind(Kind::Double).double_value(&[]);
    assert!(moved > 1e-2, "R moved by {moved}");
}
