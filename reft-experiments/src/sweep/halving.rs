//! Successive halving (Jamieson & Talwalkar, 2016): every trial trains a little, the best part of them goes on.
//!
//! As in ASHA (Li et al., 2020) no worker waits for a rung to be complete. Unlike there, a trial goes on only when nothing
//! that is still running could keep it out: the winner then does not depend on which worker was faster, and a sweep that was
//! killed and begun again ends the same.

use serde::{Deserialize, Serialize};

/// `halving:` a sweep's rungs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// One of `eta` trials goes on from each rung, with `eta` times the updates.
    pub eta: usize,
    /// Rungs, the last of which is the whole training.
    pub rungs: usize,
}

/// Where a trial stands among the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrialStage {
    /// To be trained and scored up to this rung.
    Run(usize),
    /// Scored at this rung; whether it goes on depends on others.
    Wait(usize),
    /// Not among the best of this rung.
    Pruned(usize),
    /// Trained to the end.
    Complete,
    /// Will never have a score.
    Failed,
}

/// What is known of a trial: its scores at the rungs so far, larger is better, and whether it failed after them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TrialScores {
    /// One for each rung it was scored at.
    pub scores: Vec<f64>,
    /// Whether there will be no more.
    pub failed: bool,
}

impl Halving {
    /// Without rungs: every trial trains to its end.
    pub const NONE: Self = Self { eta: 1, rungs: 1 };

    /// The part of a trial's updates after which it is scored at a rung.
    pub fn part(self, rung: usize) -> f64 {
        (self.eta as f64).powi(rung as i32 + 1 - self.rungs as i32)
    }

    /// Trials that go on from a rung that `room` of them may reach.
    pub fn go_on(self, room: usize) -> usize {
        (room / self.eta).max(1)
    }

    /// Where every trial stands. Nothing that is decided is ever revised by further scores.
    pub fn fates(self, standings: &[TrialScores]) -> Vec<TrialStage> {
        let open = |standing: &TrialScores| {
            if standing.failed { TrialStage::Failed } else { TrialStage::Run(standing.scores.len()) }
        };
        let mut fates: Vec<TrialStage> = standings.iter().map(open).collect();
        // Trials that have reached the rung or may still do so.
        let mut entrants: Vec<usize> = (0..standings.len()).collect();
        let mut room = standings.len();
        for rung in 0..self.rungs {
            let scored: Vec<usize> =
                entrants.iter().copied().filter(|&number| standings[number].scores.len() > rung).collect();
            if rung + 1 == self.rungs {
                for &number in &scored {
                    fates[number] = TrialStage::Complete;
                }
                break;
            }
            let below = |number: &usize| standings[*number].scores.len() <= rung;
            let pending = entrants.iter().filter(|number| below(number) && !standings[**number].failed).count();
            let failed_here = |number: &&usize| standings[**number].failed && standings[**number].scores.len() == rung;
            let taken = scored.len() + entrants.iter().filter(failed_here).count();
            let to_come = pending.min(room.saturating_sub(taken));
            let go_on = self.go_on(room);
            for &number in &scored {
                let ahead = ahead(standings, rung, &scored, number);
                if ahead >= go_on {
                    fates[number] = TrialStage::Pruned(rung);
                } else if ahead + to_come >= go_on && standings[number].scores.len() == rung + 1 {
                    fates[number] = TrialStage::Wait(rung);
                }
            }
            entrants.retain(|&number| {
                let failed_before = standings[number].failed && standings[number].scores.len() <= rung;
                fates[number] != TrialStage::Pruned(rung) && !failed_before
            });
            room = go_on;
        }
        fates
    }
}

/// Of the trials scored at a rung, those before `number`: with a better score there, or an equal one and named earlier.
fn ahead(standings: &[TrialScores], rung: usize, scored: &[usize], number: usize) -> usize {
    let score = |number: usize| standings[number].scores[rung];
    let before = |other: usize| score(other).total_cmp(&score(number)).then(number.cmp(&other)).is_gt();
    scored.iter().filter(|&&other| before(other)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THREE: Halving = Halving { eta: 3, rungs: 3 };

    fn standing(scores: &[f64]) -> TrialScores {
        TrialScores { scores: scores.to_vec(), failed: false }
    }

    #[test]
    fn rungs_are_parts_of_the_whole_training() {
        let parts: Vec<f64> = (0..3).map(|rung| THREE.part(rung) * 9.0).collect();
        assert!(parts.iter().zip([1.0, 3.0, 9.0]).all(|(part, expected)| (part - expected).abs() < 1e-12), "{parts:?}");
        assert!((Halving::NONE.part(0) - 1.0).abs() < 1e-12);
        assert_eq!([10, 3, 1].map(|room| THREE.go_on(room)), [3, 1, 1]);
    }

    #[test]
    fn a_trial_is_promoted_as_soon_as_no_running_trial_can_displace_it() {
        let two = Halving { eta: 2, rungs: 2 };
        let fates = |scores: &[Option<f64>]| {
            let standing = |score: &Option<f64>| standing(&score.map_or(vec![], |score| vec![score]));
            two.fates(&scores.iter().map(standing).collect::<Vec<_>>())
        };
        let (run, wait, on, out) = (TrialStage::Run(0), TrialStage::Wait(0), TrialStage::Run(1), TrialStage::Pruned(0));
        assert_eq!(fates(&[Some(5.0), Some(1.0), None, None]), [wait, wait, run, run]);
        assert_eq!(
            fates(&[Some(5.0), Some(1.0), Some(3.0), None]),
            [on, out, wait, run],
            "one may still pass one, not two"
        );
        assert_eq!(fates(&[Some(5.0), Some(1.0), Some(3.0), Some(3.0)]), [on, out, on, out], "the earlier of equals");
    }

    #[test]
    fn failed_trials_rank_below_all_others_and_delay_no_promotion() {
        let two = Halving { eta: 2, rungs: 2 };
        let failed = TrialScores { scores: vec![], failed: true };
        let fates = two.fates(&[failed.clone(), standing(&[0.0]), failed.clone(), failed]);
        assert_eq!(fates, [TrialStage::Failed, TrialStage::Run(1), TrialStage::Failed, TrialStage::Failed]);
        let later = TrialScores { scores: vec![9.0], failed: true };
        let fates = two.fates(&[later, standing(&[1.0, 1.0]), standing(&[0.0]), standing(&[0.5])]);
        assert_eq!(fates, [TrialStage::Failed, TrialStage::Complete, TrialStage::Pruned(0), TrialStage::Pruned(0)]);
        // Of nine that reach the second rung all but two fail: both go on, and the third place stays empty.
        let four = Halving { eta: 3, rungs: 4 };
        let scores = |number: usize| match number {
            0 => vec![9.0, 9.0, 2.0],
            1 => vec![9.0, 9.0, 1.0],
            _ => vec![if number < 9 { 9.0 } else { 0.0 }],
        };
        let all: Vec<TrialScores> =
            (0..27).map(|number| TrialScores { scores: scores(number), failed: (2..9).contains(&number) }).collect();
        assert_eq!(four.fates(&all)[..2], [TrialStage::Run(3), TrialStage::Pruned(2)]);
    }

    /// Plays a sweep to its end, always continuing the open trial that `pick` chooses.
    fn play(scores: &[Vec<f64>], fails: &[bool], pick: &[usize]) -> (Vec<TrialStage>, usize) {
        let mut standings = vec![TrialScores::default(); scores.len()];
        let mut steps = 0;
        loop {
            let fates = THREE.fates(&standings);
            let open: Vec<(usize, usize)> = fates
                .iter()
                .enumerate()
                .filter_map(
                    |(number, fate)| if let TrialStage::Run(rung) = fate { Some((number, *rung)) } else { None },
                )
                .collect();
            if open.is_empty() {
                return (fates, steps);
            }
            let (number, rung) = open[pick[steps % pick.len()] % open.len()];
            if fails[number] && rung == number % 3 {
                standings[number].failed = true;
            } else {
                standings[number].scores.push(scores[number][rung]);
            }
            steps += 1;
        }
    }

    proptest! {
        #[test]
        fn the_outcome_does_not_depend_on_the_order_in_which_trials_run(
            scores in prop::collection::vec(prop::collection::vec(0..6i32, 3), 1..14),
            fails in prop::collection::vec(prop::bool::weighted(0.2), 14),
            pick in prop::collection::vec(0..100usize, 1..40),
        ) {
            let scores: Vec<Vec<f64>> =
                scores.iter().map(|rungs| rungs.iter().map(|&score| f64::from(score)).collect()).collect();
            let expected = play(&scores, &fails, &[0]);
            prop_assert_eq!(&play(&scores, &fails, &pick), &expected);
            let waiting = expected.0.iter().any(|fate| matches!(fate, TrialStage::Wait(_)));
            prop_assert!(!waiting, "{:?}", expected.0);
        }
    }
}
