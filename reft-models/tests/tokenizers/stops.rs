//! Tokens that end an answer.

use reft_models::tokenizer::Tokenizer;

use super::{Differences, fixtures, integers, list};

#[test]
fn an_answer_ends_where_the_reference_ends_it() {
    let (folder, all) = fixtures("stops");
    let mut differences = Differences::default();
    for variant in list(&all["variants"]) {
        let name = variant["folder"].as_str().expect("a folder");
        let tokenizer = Tokenizer::open(&folder.join(name)).unwrap_or_else(|error| panic!("{error}"));
        let mut ends = tokenizer.ends().to_vec();
        ends.sort_unstable();
        differences.check(|| format!("{name} ends"), ends, integers(&variant["ends"]));
        differences.check(|| format!("{name} eos"), tokenizer.eos(), variant["tokenizer_eos"].as_i64());
    }
    differences.none();
}
