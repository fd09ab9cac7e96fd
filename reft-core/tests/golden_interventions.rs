//! Every `Φ` against the reference library's classes.

use reft_core::intervention::Intervention;
use reft_core::interventions::low_rank::{LowRank, SourceActivation};
use reft_core::method::InterventionSpec;
use reft_core::testing::{Tol, assert_close, golden_json, golden_tensors};
use tch::Tensor;

#[test]
fn golden_interventions_compute_phi() {
    let index = golden_json("interventions/index.json");
    for case in index.as_array().expect("a list") {
        let text = |key: &str| case[key].as_str().expect("a text");
        let method = InterventionSpec::named(text("method")).expect("a method of the paper");
        let mut phi = *method.phi().get::<LowRank>().expect("a low-rank edit");
        phi.activation = serde_json::from_value::<SourceActivation>(case["activation"].clone()).expect("an activation");
        let golden = golden_tensors(&format!("interventions/{}", text("file")));
        let rank = case["rank"].as_i64().expect("a rank");
        let declared = phi.declare(golden["h"].size()[1], rank);
        let tensor = |name: &str| match name {
            "basis" => golden.get("R").unwrap_or_else(|| &golden["W2"]),
            "weight" => &golden["W"],
            _ => &golden["b"],
        };
        let parameters: Vec<Tensor> =
            declared.iter().map(|declared| tensor(declared.name).reshape(&declared.shape)).collect();
        let got = phi.phi(&parameters, &golden["h"]);
        assert_close(text("file"), &got, &golden["phi"], Tol::Absolute(1e-5));
    }
}
