//! `b + Rᵀ(R s − R b)` at any component, with one or several sources.

use std::collections::BTreeMap;

use reft_core::adaptation::Mode;
use reft_core::hooks::{Chain, Collect, NoHooks};
use reft_core::interventions::interchange::interchange;
use reft_core::layout::{Extent, Layout, Link};
use reft_core::site::{LayerId, Site};
use reft_core::testing::{assert_close, golden_json, golden_tensors};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::golden::Tensors;
use super::{CLOSE, build, ids, integers, list, model, put, run, text};

/// One interchange of a case, with its basis (the whole state: the identity).
struct Planned<'v> {
    place: usize,
    value: &'v Value,
    basis: Tensor,
}

impl<'v> Planned<'v> {
    fn new(place: usize, value: &'v Value, tensors: &Tensors) -> Self {
        let identity = || Tensor::eye(width(tensors, place), (Kind::Float, Device::Cpu));
        let basis = value["basis"].as_str().map_or_else(identity, |name| tensors[name].shallow_clone());
        Self { place, value, basis }
    }

    fn site(&self) -> Site {
        let component = serde_json::from_value(self.value["component"].clone()).expect("a component");
        Site { layer: LayerId(self.value["layer"].as_u64().expect("a layer") as usize), component }
    }

    fn positions(&self, key: &str, row: usize) -> Vec<i64> {
        integers(&self.value[key][row])
    }

    fn source(&self) -> usize {
        self.value["source"].as_u64().expect("a number") as usize
    }
}

/// Interchanges of one site and head share one `R`, of which each has its own rows.
fn specs(planned: &[Planned<'_>]) -> (Vec<Value>, Vec<Vec<usize>>) {
    let mut families: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, one) in planned.iter().enumerate() {
        families.entry(format!("{} {}", one.site(), one.value["head"])).or_default().push(index);
    }
    let mut specs = vec![Value::Null; planned.len()];
    for family in families.values() {
        let rank: i64 = family.iter().map(|&index| planned[index].basis.size()[0]).sum();
        let mut first = 0;
        for &index in family {
            let one = &planned[index];
            let end = first + one.basis.size()[0];
            let mut spec = json!({"intervention": "dii", "rank": rank, "positions": "given",
                "layers": [one.value["layer"]], "component": one.value["component"]});
            if !one.value["head"].is_null() {
                spec["head"] = one.value["head"].clone();
            }
            if family.len() > 1 {
                spec["subspace"] = format!("[{first}..{end})").into();
            }
            specs[index] = spec;
            first = end;
        }
    }
    (specs, families.into_values().collect())
}

fn width(tensors: &Tensors, index: usize) -> i64 {
    tensors[&format!("base_state{index}")].size()[2]
}

/// The states `[B, P, width]` of the rows of `sequences` at their positions, one head's columns where one is named.
fn states(y: &Tensor, layout: &Layout, one: &Planned<'_>, first: usize, key: &str) -> Tensor {
    let rows = one.value[key].as_array().expect("a list").len();
    let of_row = |row: usize| {
        let at = |position: i64| layout.row(first + row, position).expect("there");
        let rows: Vec<i64> = one.positions(key, row).into_iter().map(at).collect();
        y.index_select(0, &Tensor::from_slice(&rows))
    };
    let states = Tensor::stack(&(0..rows).map(of_row).collect::<Vec<_>>(), 0);
    match one.value["head"].as_i64() {
        None => states,
        Some(head) => {
            let width = one.basis.size()[1];
            states.narrow(2, head * width, width)
        }
    }
}

fn check(case: &Value) {
    let (model, name) = (model(case), text(case, "file"));
    let tensors = golden_tensors(&format!("studies/interchange/{name}"));
    let planned: Vec<Planned<'_>> = list(case, "interventions")
        .iter()
        .enumerate()
        .map(|(place, value)| Planned::new(place, value, &tensors))
        .collect();
    let (specs, families) = specs(&planned);
    let adaptation = build(json!({ "refts": specs }), model.as_ref());
    for family in &families {
        let bases: Vec<&Tensor> = family.iter().map(|&index| &planned[index].basis).collect();
        let number = if families.len() > 1 { format!("{}.", family[0]) } else { String::new() };
        put(adaptation.as_ref(), &format!("{number}{}.both.basis", planned[family[0]].site()), &Tensor::cat(&bases, 0));
    }
    // Sequences: the rows of the base, then those of each source.
    let sources = planned.iter().map(Planned::source).max().expect("one") + 1;
    let names = std::iter::once("base".to_owned()).chain((0..sources).map(|source| format!("source{source}")));
    let groups: Vec<Vec<Vec<i64>>> =
        names.map(|name| tensors[&format!("{name}_ids")].unbind(0).iter().map(ids).collect()).collect();
    let rows = groups[0].len();
    let sequences: Vec<&[i64]> = groups.iter().flatten().map(Vec::as_slice).collect();
    let extents: Vec<Extent> =
        sequences.iter().map(|ids| Extent { len: ids.len() as i64, prompt: ids.len() as i64 }).collect();
    let link = |one: &Planned<'_>, row: usize| Link {
        part: one.place,
        base: row,
        base_positions: one.positions("base_positions", row),
        source: (1 + one.source()) * rows + row,
        source_positions: one.positions("source_positions", row),
    };
    let links = planned.iter().flat_map(|one| (0..rows).map(move |row| link(one, row))).collect();
    let layout = Layout::packed(&extents);
    let linked = layout.clone().with_links(links);
    let sites: Vec<Site> = planned.iter().map(Planned::site).collect();

    let before = Collect::new(sites.clone());
    let logits = run(model.as_ref(), &layout, &sequences, &Chain(vec![Box::new(NoHooks), Box::new(&before)]));
    let of = |logits: &Tensor, sequence: usize| {
        let span = layout.spans()[sequence];
        logits.narrow(0, span.row, span.len)
    };
    let group = |logits: &Tensor, group: usize| {
        Tensor::stack(&(0..rows).map(|row| of(logits, group * rows + row)).collect::<Vec<_>>(), 0)
    };
    assert_close(&format!("{name} base"), &group(&logits, 0), &tensors["base_logits"], CLOSE);
    let step = adaptation.begin(Mode::Eval);
    // What reaches a site may have been changed in a layer below.
    let (reaching, after) = (Collect::new(sites.clone()), Collect::new(sites));
    let hooks = Chain(vec![Box::new(&reaching), step.hooks(&linked).expect("disjoint"), Box::new(&after)]);
    let edited = run(model.as_ref(), &linked, &sequences, &hooks);
    drop(hooks);
    assert_close(&format!("{name} logits"), &group(&edited, 0), &tensors["logits"], CLOSE);
    for source in 0..sources {
        let expected = &tensors[&format!("source{source}_logits")];
        assert_close(&format!("{name} source {source}"), &group(&edited, 1 + source), expected, CLOSE);
    }
    let (before, reaching, after) = (before.into_states(), reaching.into_states(), after.into_states());
    for family in &families {
        // The golden's interchanges of one site come one after the other; ours come at once, with the same result.
        let mut state =
            states(&reaching[&planned[family[0]].site()], &layout, &planned[family[0]], 0, "base_positions");
        for one in family.iter().map(|&index| &planned[index]) {
            let first = (1 + one.source()) * rows;
            let source = states(&before[&one.site()], &layout, one, first, "source_positions");
            let mixed = interchange(&state, &source, &one.basis);
            for (what, got) in [("base", &state), ("source", &source), ("mixed", &mixed)] {
                let expected = &tensors[&format!("{what}_state{}", one.place)];
                assert_close(&format!("{name} {what} {}", one.place), got, expected, CLOSE);
            }
            state = mixed;
        }
        let one = &planned[family[0]];
        let got = states(&after[&one.site()], &layout, one, 0, "base_positions");
        assert_close(&format!("{name} run"), &got, &state, CLOSE);
    }
}

#[test]
fn interchange_runs_of_every_case() {
    let index = golden_json("studies/interchange/index.json");
    list(&index, "cases").iter().for_each(check);
}
