//! Scores of a text against a reference, by what words they share: F1 of words, ROUGE-L, BLEU.
//!
//! Each is the reference implementation's to the last digit that it prints: `SQuAD`'s evaluation script, Google's `rouge_score`
//! (no stemming) and `sacreBLEU` (`13a` tokens, mixed case, exponential smoothing).

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

/// F1 of the words of two texts, after `SQuAD`'s normalisation: lower case, no punctuation, no articles.
///
/// With `c` common words (each as often as both have it), `2 c / (words said + words of the reference)`; where either has
/// none, 1 if both have none, else 0.
pub fn words_f1(said: &str, reference: &str) -> f64 {
    let (said, reference) = (squad_words(said), squad_words(reference));
    if said.is_empty() || reference.is_empty() {
        return f64::from(u8::from(said.is_empty() && reference.is_empty()));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in &reference {
        *left.entry(word).or_default() += 1;
    }
    let common = said.iter().filter(|word| left.get_mut(word.as_str()).is_some_and(take)).count();
    f_measure(common, said.len(), reference.len())
}

/// Takes one of what is left, if there is one.
fn take(left: &mut usize) -> bool {
    let some = *left > 0;
    *left -= usize::from(some);
    some
}

/// Harmonic mean of `common / a` and `common / b`.
fn f_measure(common: usize, a: usize, b: usize) -> f64 {
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (common as f64 / a as f64, common as f64 / b as f64);
    2.0 * precision * recall / (precision + recall)
}

static ARTICLES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(a|an|the)\b").expect("a fixed pattern"));

fn squad_words(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    ARTICLES.replace_all(&plain, " ").split_whitespace().map(str::to_owned).collect()
}

/// ROUGE-L: F-measure of the longest common subsequence of words, which are runs of ASCII letters and digits in lower case.
pub fn rouge_l(said: &str, reference: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (said, reference) = (words(said), words(reference));
    f_measure(longest_common(&said, &reference), said.len(), reference.len())
}

/// Length of the longest common subsequence.
fn longest_common(a: &[String], b: &[String]) -> usize {
    let mut lengths = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (at, other) in b.iter().enumerate() {
            let above = lengths[at + 1];
            lengths[at + 1] = if word == other { diagonal + 1 } else { above.max(lengths[at]) };
            diagonal = above;
        }
    }
    lengths[b.len()]
}

/// Words of the longest n-grams that BLEU counts.
const ORDERS: usize = 4;

/// BLEU of texts against one reference each, from 0 to 1.
///
/// With `p_n` the part of all said n-grams that the references have (each as often as it has it),
/// `min(1, e^(1 - r/c)) · (p_1 p_2 p_3 p_4)^(1/4)`, `c` and `r` being the words of all texts and references. An order without
/// a match has `p_n = 1 / (2^k · n-grams)`, `k` counting such orders; orders longer than every text are left out.
pub fn bleu<'t>(pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> f64 {
    let (mut matches, mut totals) = ([0usize; ORDERS], [0usize; ORDERS]);
    let (mut said_words, mut reference_words) = (0, 0);
    for (said, reference) in pairs {
        let (said, reference) = (mt_tokens(said), mt_tokens(reference));
        said_words += said.len();
        reference_words += reference.len();
        for order in 1..=ORDERS {
            let mut left: HashMap<&[String], usize> = HashMap::new();
            reference.windows(order).for_each(|gram| *left.entry(gram).or_default() += 1);
            matches[order - 1] += said.windows(order).filter(|gram| left.get_mut(gram).is_some_and(take)).count();
            totals[order - 1] += said.windows(order).count();
        }
    }
    if matches.iter().all(|&count| count == 0) {
        return 0.0;
    }
    let (mut smoothing, mut logs, mut orders) = (1.0, 0.0, 0);
    for (&matched, &total) in matches.iter().zip(&totals).filter(|(_, total)| **total > 0) {
        let precision = if matched == 0 {
            smoothing *= 2.0;
            1.0 / (smoothing * total as f64)
        } else {
            matched as f64 / total as f64
        };
        logs += precision.ln();
        orders += 1;
    }
    let brevity =
        if said_words < reference_words { (1.0 - reference_words as f64 / said_words as f64).exp() } else { 1.0 };
    // sacreBLEU divides by the effective order for single sentences only; over a corpus an order without n-grams makes 0.
    if orders < ORDERS { 0.0 } else { brevity * (logs / ORDERS as f64).exp() }
}

/// Words and punctuation as mteval-v13a separates them.
fn mt_tokens(text: &str) -> Vec<String> {
    static SPLITS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let split = |pattern: &str, with: &'static str| (Regex::new(pattern).expect("a fixed pattern"), with);
        [
            split(r"([\{-~\[-` -&\(-\+:-@/])", " $1 "),
            split(r"([^0-9])([\.,])", "$1 $2 "),
            split(r"([\.,])([^0-9])", " $1 $2"),
            split(r"([0-9])(-)", "$1 $2 "),
        ]
    });
    let plain = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let plain = plain.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let split = SPLITS
        .iter()
        .fold(format!(" {plain} "), |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned());
    split.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_scores_of_texts_against_a_reference() {
        let golden = include_str!("../../tests/scores/text_scores.json");
        let golden: serde_json::Value = serde_json::from_str(golden).expect("JSON");
        let text = |value: &serde_json::Value, key: &str| value[key].as_str().expect("a text").to_owned();
        let close = |what: &str, got: f64, expected: &serde_json::Value| {
            let expected = expected.as_f64().expect("a number");
            assert!((got - expected).abs() <= 1e-12, "{what}: {got} instead of {expected}");
        };
        for case in golden["pairs"].as_array().expect("a list") {
            let (said, reference) = (text(case, "said"), text(case, "reference"));
            close(&format!("F1 of {said:?}"), words_f1(&said, &reference), &case["words_f1"]);
            close(&format!("ROUGE-L of {said:?}"), rouge_l(&said, &reference), &case["rouge_l"]);
        }
        for (number, case) in golden["corpora"].as_array().expect("a list").iter().enumerate() {
            let pairs = case["pairs"].as_array().expect("a list").iter();
            let pairs: Vec<_> = pairs.map(|pair| (text(pair, "said"), text(pair, "reference"))).collect();
            let got = bleu(pairs.iter().map(|(said, reference)| (said.as_str(), reference.as_str())));
            close(&format!("BLEU of corpus {number}"), 100.0 * got, &case["bleu"]);
        }
    }
}
