//! The published settings of GLUE are those of the table's runs, one by one.

#![cfg(feature = "program")]

use std::path::Path;

use reft_experiments::tables::methods::Methods;
use reft_experiments::tables::spec::TableSpec;
use serde_json::Value;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The table of settings of a model and method in `paper/hyperparameters.yaml`.
const TABLES: [(&str, &str, &str); 4] = [
    ("RoBERTa-base", "LoReFT", "table9_base_loreft"),
    ("RoBERTa-large", "LoReFT", "table10_large_loreft"),
    ("RoBERTa-base", "DiReFT", "table11_base_direft"),
    ("RoBERTa-large", "DiReFT", "table12_large_direft"),
];

#[test]
fn every_run_of_the_paper_profile_has_its_published_settings() {
    let text = std::fs::read_to_string(format!("{REPOSITORY}/paper/hyperparameters.yaml")).expect("there");
    let published: Value = serde_saphyr::from_str(&text).expect("valid");
    let glue = &published["glue"];
    let order: Vec<&str> = glue["order"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let spec = TableSpec::read(&Path::new(REPOSITORY).join("configs/tables/table4.yaml")).expect("valid");
    let rows = spec.profiles["paper"].choosing(&Methods::Usual).and_then(|profile| profile.rows()).expect("valid");
    assert_eq!(rows.len(), TABLES.len());
    for row in rows {
        let (_, _, table) =
            TABLES.iter().find(|(model, method, _)| (*model, *method) == (&row.model.name, &row.method)).expect("one");
        assert_eq!(row.runs.len(), order.len() * 5, "{table}: a run for every task and seed");
        for run in &row.runs {
            let at = order.iter().position(|task| *task == run.data.eval[0].key()).expect("a task of the table");
            let number = |key: &str| glue[table][key][at].as_f64().expect("a number");
            let adapt = serde_json::to_value(&run.adapt).expect("plain data");
            let reft = &adapt["reft"];
            let train = &run.train;
            let settings = [
                (train.lr, "lr"),
                (train.weight_decay, "weight_decay"),
                (train.batch_size as f64, "batch_size"),
                (train.warmup_ratio, "warmup_ratio"),
                (train.epochs as f64, "epochs"),
                (reft["dropout"]["p"].as_f64().expect("a probability"), "dropout"),
            ];
            for (got, key) in settings {
                assert!((got - number(key)).abs() < 1e-12, "{table} {}: {key} {got}", order[at]);
            }
            assert_eq!(reft["positions"], glue[table]["positions"][at], "{table} {}", order[at]);
            assert_eq!((&reft["rank"], &reft["tying"], &reft["layers"]), (&1.into(), &"untied".into(), &"all".into()));
            assert_eq!(reft["intervention"], row.method.to_lowercase());
            assert_eq!((run.data.max_length, &run.data.train), (256, &run.data.eval));
        }
    }
}
