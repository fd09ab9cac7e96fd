//! Positions against the paper's rule and the reference library's, for every specification and prompt length given.

use reft_core::layout::{Extent, Layout, Padding, Span};
use reft_core::positions::{Positions, Truncation, Tying};
use reft_core::testing::golden_json;
use serde_json::Value;

fn ints(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|item| item.as_i64().expect("an integer")).collect()
}

/// The positions of each group in a prompt of `n` tokens that an answer follows.
fn resolve(positions: Positions, n: i64, tying: Tying, rule: Truncation) -> Vec<Vec<i64>> {
    let groups = positions.groups(tying).expect("positions with ends");
    let layout = Layout::packed(&[Extent { len: n + 5, prompt: n }]);
    positions.resolve(&layout, &groups, rule)
}

#[test]
fn golden_positions_of_the_paper_and_of_the_library() {
    let golden = golden_json("positions/cases.json");
    for case in golden["cases"].as_array().expect("a list") {
        let positions: Positions = case["positions"].as_str().expect("a text").parse().expect("valid");
        let n = case["prompt_length"].as_i64().expect("a length");
        let (prefix, suffix) = (ints(&case["paper_prefix"]), ints(&case["paper_suffix"]));
        let all = [prefix.clone(), suffix.clone()].concat();
        let tied = resolve(positions, n, Tying::Tied, Truncation::Paper);
        assert_eq!(tied, std::slice::from_ref(&all), "{positions} on {n} tokens, tied");
        let untied = resolve(positions, n, Tying::Untied, Truncation::Paper).concat();
        assert_eq!(untied, all, "{positions} on {n} tokens, untied");
        let mut each = resolve(positions, n, Tying::PerPosition, Truncation::Paper).concat();
        each.sort_unstable();
        assert_eq!(each, all, "{positions} on {n} tokens, per position");
        let library = case["library_groups"].as_array().expect("two groups");
        let mut expected: Vec<i64> = library.iter().flat_map(ints).collect();
        expected.sort_unstable();
        expected.dedup();
        let got = resolve(positions, n, Tying::Tied, Truncation::Library).concat();
        assert_eq!(got, expected, "{positions} on {n} tokens, the library's rule");
    }
}

#[test]
fn padding_moves_rows_and_nothing_else() {
    let extents = [Extent { len: 9, prompt: 4 }, Extent { len: 20, prompt: 15 }];
    let positions: Positions = "f3+l3".parse().expect("valid");
    let groups = positions.groups(Tying::Untied).expect("ends");
    let tokens = |padding| {
        let layout = Layout::new(&extents, padding);
        let ids = Vec::<i64>::try_from(layout.position_ids(tch::Device::Cpu)).expect("ids");
        let rows = positions.resolve(&layout, &groups, Truncation::Paper);
        rows.into_iter().map(|rows| rows.into_iter().map(|row| ids[row as usize]).collect()).collect::<Vec<Vec<i64>>>()
    };
    assert_eq!(tokens(Padding::Packed), [vec![0, 1, 0, 1, 2], vec![2, 3, 12, 13, 14]]);
    assert_eq!(tokens(Padding::Left), tokens(Padding::Packed));
    assert_eq!(tokens(Padding::Right), tokens(Padding::Packed));
}

#[test]
fn edits_of_the_prompt_vanish_while_decoding_and_others_do_not() {
    let layout = Layout::of([Span { row: 0, past: 5, past_row: 0, len: 1, prompt: 4, adaptation: 0 }]);
    let rows = |text: &str| {
        let positions: Positions = text.parse().expect("valid");
        positions.resolve(&layout, &positions.groups(Tying::Tied).expect("tied"), Truncation::Paper).concat()
    };
    assert!(rows("f2+l2").is_empty() && rows("prompt").is_empty() && rows("gen[:1]").is_empty());
    assert_eq!((rows("all"), rows("gen"), rows("gen[:2]")), (vec![0], vec![0], vec![0]));
}
