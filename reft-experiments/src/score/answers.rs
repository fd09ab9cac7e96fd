//! The answer inside a generated text.

use std::sync::LazyLock;

use regex::Regex;

static NUMBER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"-?\d+\.?\d*").expect("a fixed pattern"));

/// The last number of a text, thousands separators ignored.
pub fn number(text: &str) -> Option<f64> {
    let text = text.replace(',', "");
    NUMBER.find_iter(&text).last()?.as_str().parse().ok()
}

/// The first of the letters A to E; empty when there is none.
pub fn letter(text: &str) -> &str {
    let text = text.trim();
    text.find(|c: char| ('A'..='E').contains(&c)).map_or("", |at| &text[at..=at])
}

/// What follows the first `trigger`, without leading white space; empty when it does not occur.
pub fn after<'a>(text: &'a str, trigger: &str) -> &'a str {
    text.split_once(trigger).map_or("", |(_, rest)| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use reft_core::testing::golden_json;

    use super::*;

    #[test]
    fn golden_extraction_of_numbers_letters_and_texts() {
        let golden = golden_json("extraction/extraction.json");
        let text = |case: &serde_json::Value, key: &str| case[key].as_str().expect("a text").to_owned();
        for case in golden["cases"].as_array().expect("a list") {
            let input = text(case, "text");
            assert_eq!(number(&input), case["number"].as_f64(), "number of {input:?}");
            assert_eq!(letter(&input), text(case, "letter"), "letter of {input:?}");
        }
        for case in golden["after"].as_array().expect("a list") {
            let (input, trigger) = (text(case, "text"), text(case, "trigger"));
            assert_eq!(after(&input, &trigger), text(case, "value"), "after {trigger:?} in {input:?}");
        }
    }
}
