//! The metrics of GLUE: accuracy, F1 and Matthews' correlation of classes, Pearson's and Spearman's of scores.

use std::collections::BTreeSet;

/// Predicted and right classes, counted. Class 1 is the positive one.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Counts {
    right_positive: f64,
    wrong_positive: f64,
    right_negative: f64,
    wrong_negative: f64,
}

impl Counts {
    fn of(labels: &[i64], predictions: &[i64]) -> Self {
        let count = |label_is_1: bool, prediction_is_1: bool| {
            let pairs = labels.iter().zip(predictions);
            pairs.filter(|(label, said)| (**label == 1, **said == 1) == (label_is_1, prediction_is_1)).count() as f64
        };
        Self {
            right_positive: count(true, true),
            wrong_positive: count(false, true),
            right_negative: count(false, false),
            wrong_negative: count(true, false),
        }
    }
}

/// Part of the predictions that are right.
pub fn accuracy(labels: &[i64], predictions: &[i64]) -> f64 {
    let right = labels.iter().zip(predictions).filter(|(label, said)| label == said).count();
    right as f64 / labels.len() as f64
}

/// Harmonic mean of precision and recall of class 1; 0 where neither is defined.
pub fn f1(labels: &[i64], predictions: &[i64]) -> f64 {
    let Counts { right_positive, wrong_positive, wrong_negative, .. } = Counts::of(labels, predictions);
    let all = 2.0 * right_positive + wrong_positive + wrong_negative;
    if all == 0.0 { 0.0 } else { 2.0 * right_positive / all }
}

/// Mean of the classes' F1, over the classes among labels and predictions (scikit-learn's `f1_score(average="macro")`).
pub fn f1_macro(labels: &[i64], predictions: &[i64]) -> f64 {
    let classes: BTreeSet<i64> = labels.iter().chain(predictions).copied().collect();
    let of_class = |&class: &i64| {
        let count = |values: &[i64]| values.iter().filter(|value| **value == class).count();
        let both = labels.iter().zip(predictions).filter(|pair| *pair == (&class, &class)).count();
        2.0 * both as f64 / (count(labels) + count(predictions)) as f64
    };
    classes.iter().map(of_class).sum::<f64>() / classes.len().max(1) as f64
}

/// F1 of all classes counted together, which is the accuracy where every row has one class.
pub fn f1_micro(labels: &[i64], predictions: &[i64]) -> f64 {
    accuracy(labels, predictions)
}

/// Matthews' correlation; 0 where either side has only one class. Of more than two classes it is Gorodkin's `R_K`
/// (Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient").
pub fn matthews(labels: &[i64], predictions: &[i64]) -> f64 {
    if labels.iter().chain(predictions).any(|class| !(0..=1).contains(class)) {
        return matthews_of_several(labels, predictions);
    }
    let Counts { right_positive: tp, wrong_positive: fp, right_negative: tn, wrong_negative: fn_ } =
        Counts::of(labels, predictions);
    let scale = ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
    if scale == 0.0 { 0.0 } else { (tp * tn - fp * fn_) / scale }
}

fn matthews_of_several(labels: &[i64], predictions: &[i64]) -> f64 {
    let n = labels.len() as f64;
    let right = labels.iter().zip(predictions).filter(|(label, said)| label == said).count() as f64;
    let classes: BTreeSet<i64> = labels.iter().chain(predictions).copied().collect();
    let count = |values: &[i64], class: i64| values.iter().filter(|value| **value == class).count() as f64;
    let sum = |left: &[i64], other: &[i64]| {
        classes.iter().map(|&class| count(left, class) * count(other, class)).sum::<f64>()
    };
    let scale = ((n * n - sum(labels, labels)) * (n * n - sum(predictions, predictions))).sqrt();
    if scale == 0.0 { 0.0 } else { (right * n - sum(labels, predictions)) / scale }
}

/// Pearson's correlation; none where either side is constant.
pub fn pearson(xs: &[f64], ys: &[f64]) -> Option<f64> {
    let n = xs.len() as f64;
    let (mx, my) = (xs.iter().sum::<f64>() / n, ys.iter().sum::<f64>() / n);
    let together: f64 = xs.iter().zip(ys).map(|(x, y)| (x - mx) * (y - my)).sum();
    let square = |values: &[f64], mean: f64| values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let scale = (square(xs, mx) * square(ys, my)).sqrt();
    (scale > 0.0).then(|| together / scale)
}

/// Spearman's correlation: Pearson's of the ranks, equals sharing their mean rank.
pub fn spearman(xs: &[f64], ys: &[f64]) -> Option<f64> {
    pearson(&ranks(xs), &ranks(ys))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equals in order.chunk_by(|&a, &b| values[a].total_cmp(&values[b]).is_eq()) {
        // Ranks count from 1.
        let mean = first as f64 + f64::midpoint(equals.len() as f64, 1.0);
        for &index in equals {
            ranks[index] = mean;
        }
        first += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use reft_core::testing::golden_json;
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|item| item.as_f64().expect("a number")).collect()
    }

    fn classes(value: &Value) -> Vec<i64> {
        numbers(value).into_iter().map(|number| number as i64).collect()
    }

    fn close(what: &str, got: Option<f64>, expected: &Value) {
        let same = match (got, expected.as_f64()) {
            (Some(got), Some(expected)) => (got - expected).abs() <= 1e-9,
            (got, expected) => got.is_none() && expected.is_none(),
        };
        assert!(same, "{what}: {got:?}, expected {expected}");
    }

    #[test]
    fn golden_metrics_of_classes_and_scores() {
        let golden = golden_json("metrics/metrics.json");
        for case in golden["classification"].as_array().expect("a list") {
            let (labels, said) = (classes(&case["labels"]), classes(&case["predictions"]));
            close("accuracy", Some(accuracy(&labels, &said)), &case["accuracy"]);
            close("f1", Some(f1(&labels, &said)), &case["f1"]);
            close("matthews", Some(matthews(&labels, &said)), &case["matthews"]);
        }
        for case in golden["regression"].as_array().expect("a list") {
            let (labels, said) = (numbers(&case["labels"]), numbers(&case["predictions"]));
            close("pearson", pearson(&labels, &said), &case["pearson"]);
            close("spearman", spearman(&labels, &said), &case["spearman"]);
        }
    }

    #[test]
    fn scores_of_several_classes_are_scikit_learns() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/scores/label_scores.json")).expect("valid");
        for case in golden["cases"].as_array().expect("a list") {
            let (labels, said) = (classes(&case["labels"]), classes(&case["predictions"]));
            close("accuracy", Some(accuracy(&labels, &said)), &case["accuracy"]);
            close("f1_macro", Some(f1_macro(&labels, &said)), &case["f1_macro"]);
            close("f1_micro", Some(f1_micro(&labels, &said)), &case["f1_micro"]);
            close("matthews", Some(matthews(&labels, &said)), &case["matthews"]);
        }
    }
}
