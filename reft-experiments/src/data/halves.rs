//! GLUE's validation rows, split by a run's seed: one part is watched while training, the other is read once.

use rand::seq::SliceRandom;
use reft_core::rng::Seed;

use super::row::Row;
use super::split::Selection;

/// How many validation rows are watched while training.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// Half of them, rounded down.
    Half,
    /// This many, of a large set; half of a smaller one.
    Rows(usize),
}

/// Rows that are reported, not read yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockedRows {
    rows: Vec<Row>,
}

impl LockedRows {
    /// The rows, for a setting and an epoch that are chosen.
    pub fn open(&self, _by: &Selection) -> &[Row] {
        &self.rows
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Identity of the rows.
    pub fn fingerprint(&self) -> String {
        super::split::fingerprint(&self.rows)
    }
}

/// Both parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidationHalves {
    /// Scored after every epoch.
    pub watched: Vec<Row>,
    /// Scored once, at the end.
    pub held: LockedRows,
}

/// Splits validation rows by a seed, each part in the order of the file.
pub fn split(rows: Vec<Row>, watched: Watched, seed: Seed) -> ValidationHalves {
    let half = rows.len() / 2;
    let count = match watched {
        Watched::Half => half,
        Watched::Rows(count) => count.min(half),
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.shuffle(&mut seed.stream("glue validation", 0));
    let mut is_watched = vec![false; rows.len()];
    order[..count].iter().for_each(|&index| is_watched[index] = true);
    let (watched, held): (Vec<_>, Vec<_>) = rows.into_iter().zip(is_watched).partition(|(_, watched)| *watched);
    let alone = |rows: Vec<(Row, bool)>| rows.into_iter().map(|(row, _)| row).collect();
    ValidationHalves { watched: alone(watched), held: LockedRows { rows: alone(held) } }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rows(count: usize) -> Vec<Row> {
        (0..count).map(|n| Row { instruction: n.to_string(), ..Row::default() }).collect()
    }

    #[test]
    fn parts_are_disjoint_complete_and_follow_from_the_seed() {
        let by = Selection { chosen_by: "a test".to_owned() };
        for (count, watched, expected) in
            [(101, Watched::Half, 50), (5000, Watched::Rows(1000), 1000), (600, Watched::Rows(1000), 300)]
        {
            let halves = split(rows(count), watched, Seed(42));
            assert_eq!((halves.watched.len(), halves.held.count()), (expected, count - expected));
            let all: BTreeSet<&Row> = halves.watched.iter().chain(halves.held.open(&by)).collect();
            assert_eq!(all.len(), count);
            assert_eq!(split(rows(count), watched, Seed(42)), halves);
            assert_ne!(split(rows(count), watched, Seed(43)), halves);
        }
    }
}
