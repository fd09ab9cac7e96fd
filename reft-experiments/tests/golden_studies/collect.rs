//! States of ragged prompts, each position's, the last one's and their mean.

use reft_core::positions::Positions;
use reft_core::site::{LayerId, Site};
use reft_core::testing::{assert_close, golden_json, golden_tensors};
use reft_experiments::collect::{Keep, StateRequest};
use tch::Kind;

use super::{CLOSE, ids, list, model, text};

#[test]
fn states_of_every_site_from_either_padding() {
    let index = golden_json("studies/collect/index.json");
    let tensors = golden_tensors(&format!("studies/collect/{}", text(&index, "file")));
    let model = model(&index);
    for padding in ["right", "left"] {
        let tokens = |name: &str| tensors[&format!("{padding}.{name}")].unbind(0);
        let real = tokens("input_ids")
            .into_iter()
            .zip(tokens("attention_mask"))
            .map(|(row, mask)| ids(&row.masked_select(&mask.to_kind(Kind::Bool))));
        let texts: Vec<Vec<i64>> = real.collect();
        let texts: Vec<&[i64]> = texts.iter().map(Vec::as_slice).collect();
        for site in list(&index, "sites") {
            let component = serde_json::from_value(site["component"].clone()).expect("a component");
            let at = Site { layer: LayerId(site["layer"].as_u64().expect("a layer") as usize), component };
            let (last, all) = (Positions::Ends { prefix: 0, suffix: 1 }, Positions::Prompt);
            for (what, positions, keep) in
                [("every", all, Keep::Tokens), ("last", last, Keep::Tokens), ("mean", all, Keep::Mean)]
            {
                let wanted = StateRequest { sites: vec![at], positions, keep };
                let mut states = wanted.of(model.as_ref(), None, &texts).expect("no edits");
                let (found, got) = states.at.remove(0);
                assert_eq!(found, at);
                let name = format!("{}.{what}", text(site, "tensors"));
                assert_close(&format!("{padding} {name}"), &got, &tensors[&name], CLOSE);
            }
        }
    }
}
