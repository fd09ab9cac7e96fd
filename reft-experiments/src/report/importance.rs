//! How much each setting of a sweep matters: the share of the variance of trials' scores that its values' means explain.
//!
//! With `n` trials of which `n_v` have value `v` of a setting, mean score `m_v`, and mean `m` over all:
//! `share = Σ_v n_v (m_v − m)² / Σ_i (s_i − m)²` (the correlation ratio η², the main effect of a functional ANOVA as in Hutter
//! et al., 2014, on the trials themselves instead of a model of them). A setting with `k` values that does nothing at all still
//! explains `(k − 1) / (n − 1)` on average over all ways of dealing the scores to the trials: that is drawn beside the share,
//! and a share that is not far above it says nothing. Shares of a full grid add up to at most 1; what is missing are effects of
//! settings together and chance. Shares of random trials overlap. Numbers from a range with many values, or with
//! values that came about once each, are cut into thirds.
//!
//! All scores are of one rung, the first, because a score after a ninth of the training is not comparable with one after all.

use maud::{Markup, html};

use super::data::{Data, number};
use super::draw::mark::{Anchor, label, rule};
use super::draw::number::{percent, setting};
use super::draw::scale::{Domain, Scale};
use super::draw::{Drawing, px, text};
use super::figure::Figure;
use crate::sweep::space::{Parameter, SearchPoint, Values};

/// Trials below which nothing is said.
const FEWEST: usize = 4;
/// Different numbers of a range that are kept apart.
const APART: usize = 6;

/// The trials that share a value, or a third of a range.
#[derive(Clone, PartialEq, Debug)]
pub struct ValueGroup {
    /// The value, or the smallest and the largest.
    pub value: String,
    /// Trials.
    pub n: usize,
    /// Mean of their scores, in their unit.
    pub mean: f64,
}

/// A setting's share.
#[derive(Clone, PartialEq, Debug)]
pub struct ImportanceShare {
    /// The setting.
    pub setting: String,
    /// Explained part of the variance, from 0 to 1.
    pub share: f64,
    /// What a setting without any effect would explain on average.
    pub chance: f64,
    /// Its values, in the order of the space.
    pub groups: Vec<ValueGroup>,
}

/// The share of every setting, the largest first; none with fewer than four trials, or where all scored the same.
pub fn shares(space: &[Parameter], scored: &[(&SearchPoint, f64)]) -> Vec<ImportanceShare> {
    let scores = || scored.iter().map(|(_, score)| *score);
    let n = scored.len();
    let mean = scores().sum::<f64>() / n.max(1) as f64;
    let whole: f64 = scores().map(|score| (score - mean).powi(2)).sum();
    if n < FEWEST || whole <= 1e-12 {
        return Vec::new();
    }
    let one = |parameter: &Parameter| {
        let groups = groups(parameter, scored);
        let between: f64 = groups.iter().map(|group| group.n as f64 * (group.mean - mean).powi(2)).sum();
        let chance = (groups.len().saturating_sub(1)) as f64 / (n - 1) as f64;
        ImportanceShare { setting: parameter.key.clone(), share: (between / whole).min(1.0), chance, groups }
    };
    let mut shares: Vec<ImportanceShare> = space.iter().map(one).collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    shares
}

fn groups(parameter: &Parameter, scored: &[(&SearchPoint, f64)]) -> Vec<ValueGroup> {
    let group = |value: String, scores: Vec<f64>| {
        (!scores.is_empty()).then(|| ValueGroup {
            value,
            n: scores.len(),
            mean: scores.iter().sum::<f64>() / scores.len() as f64,
        })
    };
    if let Values::Choices(choices) = &parameter.values {
        let with = |choice: &serde_json::Value| {
            let same = scored.iter().filter(|(point, _)| point.get(&parameter.key) == Some(choice));
            group(setting(choice), same.map(|(_, score)| *score).collect())
        };
        return choices.iter().filter_map(with).collect();
    }
    let known = |(point, score): &(&SearchPoint, f64)| Some((point.get(&parameter.key)?.as_f64()?, *score));
    let mut pairs: Vec<(f64, f64)> = scored.iter().filter_map(known).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let equal: Vec<&[(f64, f64)]> = pairs.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()).collect();
    // Values that came once each would explain everything.
    let cut = if equal.len() <= APART && pairs.len() >= 2 * equal.len() { equal } else { thirds(&pairs) };
    let named = |pairs: &[(f64, f64)]| {
        let ends = [pairs.first()?.0, pairs.last()?.0].map(super::draw::number::short);
        let value = if ends[0] == ends[1] { ends[0].clone() } else { ends.join(" to ") };
        group(value, pairs.iter().map(|(_, score)| *score).collect())
    };
    cut.into_iter().filter_map(named).collect()
}

/// About equally many pairs each; equal numbers stay together.
fn thirds(pairs: &[(f64, f64)]) -> Vec<&[(f64, f64)]> {
    let edge = |part: usize| {
        let at = pairs.len() * part / 3;
        pairs.partition_point(|pair| pair.0 < pairs[at].0)
    };
    let (first, second) = (edge(1), edge(2));
    [&pairs[..first], &pairs[first..second], &pairs[second..]].into_iter().filter(|part| !part.is_empty()).collect()
}

/// The shares as bars, each with a mark where chance alone would be.
pub fn figure(name: &str, shares: &[ImportanceShare], n: usize, caption: Markup) -> Figure {
    let mut data = Data::new(&["setting", "groups", "n", "share", "chance"]);
    for share in shares {
        let groups = share.groups.len().to_string();
        data.push(vec![
            share.setting.clone(),
            groups,
            n.to_string(),
            number(Some(100.0 * share.share)),
            number(Some(100.0 * share.chance)),
        ]);
    }
    let alt = shares.iter().map(|share| format!("{} {} %", share.setting, percent(Some(100.0 * share.share))));
    let alt = format!("Variance of dev scores explained by each setting: {}", alt.collect::<Vec<_>>().join(", "));
    let shares = shares.to_vec();
    Figure { name: name.to_owned(), alt, caption, data, draw: Box::new(move |width| bars(&shares, width)) }
}

/// Height of a setting's bar with its name above.
const ROW: f64 = 44.0;

fn bars(shares: &[ImportanceShare], width: f64) -> Drawing {
    let room = text::width("100.0 %") + 8.0;
    let x = Scale { column: "share".to_owned(), domain: Domain::Linear(0.0, 100.0), pixels: [1.0, width - room] };
    let marked = Scale { column: "chance".to_owned(), ..x.clone() };
    let read_back = |scale: &Scale| serde_json::to_string(scale).expect("plain data");
    let bar = |(row, share): (usize, &ImportanceShare)| {
        let (top, end) = (ROW * row as f64, x.at(100.0 * share.share).unwrap_or(1.0));
        let chance = x.at(100.0 * share.chance).unwrap_or(1.0);
        let title = format!("{} ({} values)", share.setting, share.groups.len());
        let (start, value) = (x.pixels[0], format!("{} %", percent(Some(100.0 * share.share))));
        html! {
            (label((0.0, top + 14.0), Anchor::Start, "", &text::shortened(&title, width)))
            (rule((start, top + 28.0), (x.pixels[1], top + 28.0), "grid"))
            rect class="bar" x=(px(start)) y=(px(top + 21.0)) width=(px(end - start)) height="14" data-row=(row) {}
            path class="chance" d=(format!("M{} {}v20", px(chance), px(top + 18.0))) data-chance=(row) {}
            (label((end.max(chance) + 6.0, top + 32.0), Anchor::Start, "halo", &value))
        }
    };
    let bars: Vec<Markup> = shares.iter().enumerate().map(bar).collect();
    let body = html! {
        g data-x=(read_back(&x)) data-marks=(read_back(&marked)) { @for bar in &bars { (bar) } }
    };
    Drawing { height: ROW * shares.len() as f64 + 4.0, body }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grid(score: impl Fn(i64, i64) -> f64) -> (Vec<Parameter>, Vec<(SearchPoint, f64)>) {
        let choices = |n: i64| Values::Choices((0..n).map(|value| json!(value)).collect());
        let parameter = |key: &str, values| Parameter { key: key.to_owned(), values };
        let points = (0..6).map(|index| (index / 3, index % 3));
        let point = |(a, b): (i64, i64)| {
            ([("a".to_owned(), json!(a)), ("b".to_owned(), json!(b))].into_iter().collect(), score(a, b))
        };
        (vec![parameter("a", choices(2)), parameter("b", choices(3))], points.map(point).collect())
    }

    fn of(space: &[Parameter], scored: &[(SearchPoint, f64)]) -> Vec<ImportanceShare> {
        shares(space, &scored.iter().map(|(point, score)| (point, *score)).collect::<Vec<_>>())
    }

    #[test]
    fn shares_of_an_additive_grid_are_its_parts_of_the_variance() {
        // Variances around the mean: of a, 6 · 1 = 6; of b, 2 · (4 + 0 + 4) = 16.
        let (space, scored) = grid(|a, b| 50.0 + 2.0 * a as f64 - 1.0 + 2.0 * (b as f64 - 1.0));
        let shares = of(&space, &scored);
        let named: Vec<(&str, usize)> =
            shares.iter().map(|share| (share.setting.as_str(), share.groups.len())).collect();
        assert_eq!(named, [("b", 3), ("a", 2)]);
        assert!((shares[0].share - 16.0 / 22.0).abs() < 1e-12 && (shares[1].share - 6.0 / 22.0).abs() < 1e-12);
        assert!((shares[0].chance - 0.4).abs() < 1e-12 && (shares[1].chance - 0.2).abs() < 1e-12);
        let first = &shares[0].groups[0];
        assert_eq!((first.value.as_str(), first.n), ("0", 2));
        assert!((first.mean - 48.0).abs() < 1e-12);
    }

    #[test]
    fn chance_is_the_mean_share_over_all_ways_to_deal_the_scores() {
        let (space, scored) = grid(|_, _| 0.0);
        let (mut total, mut ways) = ([0.0; 2], 0.0);
        let mut deal = vec![0usize; 6];
        // All permutations of six scores, as numbers in the factorial system.
        for index in 0..720usize {
            let mut left: Vec<f64> = vec![1.0, 2.0, 4.0, 8.0, 16.0, 40.0];
            let mut rest = index;
            for (place, slot) in deal.iter_mut().enumerate() {
                *slot = left.remove(rest % (6 - place)) as usize;
                rest /= 6 - place;
            }
            let dealt: Vec<(SearchPoint, f64)> =
                scored.iter().zip(&deal).map(|((point, _), &score)| (point.clone(), score as f64)).collect();
            for share in of(&space, &dealt) {
                total[usize::from(share.setting == "b")] += share.share;
            }
            ways += 1.0;
        }
        assert!((total[0] / ways - 0.2).abs() < 1e-9 && (total[1] / ways - 0.4).abs() < 1e-9, "{total:?}");
    }

    #[test]
    fn too_few_trials_or_equal_scores_say_nothing_and_ranges_are_cut_into_thirds() {
        let (space, scored) = grid(|_, _| 3.0);
        assert!(of(&space, &scored).is_empty(), "equal scores");
        let (space, scored) = grid(|a, _| a as f64);
        assert!(of(&space, &scored[..3]).is_empty(), "three trials");
        let range = Values::Range { low: 0.0, high: 1.0, log: false };
        let space = [Parameter { key: "x".to_owned(), values: range }];
        let point = |x: i32| {
            ([("x".to_owned(), json!(f64::from(x) / 10.0))].into_iter().collect::<SearchPoint>(), f64::from(x))
        };
        let scored: Vec<(SearchPoint, f64)> = (0..9).map(point).collect();
        let groups = of(&space, &scored).remove(0).groups;
        let told: Vec<(&str, usize)> = groups.iter().map(|group| (group.value.as_str(), group.n)).collect();
        assert_eq!(told, [("0 to 0.2", 3), ("0.3 to 0.5", 3), ("0.6 to 0.8", 3)]);
    }
}
