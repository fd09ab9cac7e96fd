//! How many rows of each class go to each split.

/// Rows of each class for dev and test, given how many rows a class has and how many rows each split is to have in all. Every class has
/// its part, rounded so that the sums are kept (largest remainders first). A class has at least one row in a split where it
/// has enough of them, and a row for training always: what that leaves open, others fill as far as they can.
pub fn rooms(counts: &[usize], wanted: [usize; 2]) -> Vec<[usize; 2]> {
    let mut free: Vec<usize> = counts.iter().map(|count| count - 1).collect();
    let all: usize = counts.iter().sum();
    let [dev, test] = wanted.map(|wanted| {
        let parts = parts(counts, &free, wanted, all);
        free.iter_mut().zip(&parts).for_each(|(free, part)| *free -= part);
        parts
    });
    dev.into_iter().zip(test).map(|(dev, test)| [dev, test]).collect()
}

/// The rows of each class in one split; `free` are those that it can give.
fn parts(counts: &[usize], free: &[usize], wanted: usize, all: usize) -> Vec<usize> {
    let exact = |class: usize| (wanted * counts[class]) as f64 / all.max(1) as f64;
    let mut parts: Vec<usize> = (0..counts.len()).map(|class| (exact(class) as usize).min(free[class])).collect();
    let missing = |parts: &[usize]| wanted.saturating_sub(parts.iter().sum());
    while missing(&parts) > 0 {
        let open = (0..parts.len()).filter(|&class| parts[class] < free[class]);
        let short = |&class: &usize| exact(class) - parts[class] as f64;
        let Some(class) = open.max_by(|a, b| short(a).total_cmp(&short(b)).then(b.cmp(a))) else { break };
        parts[class] += 1;
    }
    for class in 0..parts.len() {
        let largest = (0..parts.len()).max_by_key(|&other| (parts[other], std::cmp::Reverse(other)));
        if let Some(largest) = largest.filter(|&largest| parts[class] == 0 && free[class] > 0 && parts[largest] > 1) {
            parts[largest] -= 1;
            parts[class] += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_in_proportion_and_add_up() {
        assert_eq!(rooms(&[60, 30, 10], [10, 20]), [[6, 12], [3, 6], [1, 2]]);
        let dealt = rooms(&[50, 33, 17], [7, 0]);
        assert_eq!(dealt.iter().map(|part| part[0]).sum::<usize>(), 7);
        assert_eq!(dealt, [[4, 0], [2, 0], [1, 0]]);
    }

    #[test]
    fn a_small_class_is_in_every_split_that_it_has_rows_for_and_always_in_training() {
        assert_eq!(rooms(&[97, 3], [10, 10]), [[9, 9], [1, 1]]);
        assert_eq!(rooms(&[98, 2], [10, 10]), [[9, 10], [1, 0]]);
        assert_eq!(rooms(&[99, 1], [10, 0]), [[10, 0], [0, 0]]);
        // More than there are: a row of each is left.
        assert_eq!(rooms(&[2, 2], [9, 0]), [[1, 0], [1, 0]]);
    }
}
