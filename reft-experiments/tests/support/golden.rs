//! Rows and heads of golden trajectories.

// Every test program uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use reft_experiments::data::encode::Example;
use reft_experiments::data::labelled::{Labelled, Target};
use reft_experiments::train::head::ClassificationHead;
use tch::{Kind, Tensor, no_grad};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// The token ids of row `row` of batch `batch`, padding left out.
fn ids(golden: &Tensors, batch: &str, row: i64) -> Vec<i64> {
    let tensor = |name: &str| &golden[&format!("{batch}.{name}")];
    let len = tensor("attention_mask").get(row).sum(Kind::Int64).int64_value(&[]);
    Vec::<i64>::try_from(tensor("input_ids").get(row).narrow(0, 0, len)).expect("ids")
}

/// The rows of a batch (`batch0`, `step3`) to be classified or scored.
pub fn labelled(golden: &Tensors, batch: &str) -> Vec<Labelled> {
    let labels = &golden[&format!("{batch}.labels")];
    let target = |label: &Tensor| match label.kind() {
        Kind::Float => Target::Score(label.double_value(&[])),
        _ => Target::Class(label.int64_value(&[])),
    };
    let row = |row: i64| {
        let ids = ids(golden, batch, row);
        Labelled {
            types: vec![0; ids.len()],
            ids,
            target: target(&labels.get(row)),
            name: format!("{batch} row {row}"),
        }
    };
    (0..labels.size()[0]).map(row).collect()
}

/// The rows of a batch to be continued; labels are -100 in the prompt.
pub fn examples(golden: &Tensors, batch: &str) -> Vec<Example> {
    let labels = &golden[&format!("{batch}.labels")];
    let row = |row: i64| {
        let labels = Vec::<i64>::try_from(labels.get(row)).expect("labels");
        let prompt = labels.iter().take_while(|&&label| label == -100).count();
        Example { ids: ids(golden, batch, row), prompt, name: format!("{batch} row {row}"), lost: 0 }
    };
    (0..labels.size()[0]).map(row).collect()
}

/// Puts the tensors `PREFIXclassifier.NAME` into a head.
pub fn load_head(head: &ClassificationHead, golden: &Tensors, prefix: &str) {
    for named in head.named() {
        no_grad(|| named.tensor.shallow_clone().copy_(&golden[&format!("{prefix}classifier.{}", named.name)]));
    }
}
