//! The most likely token of each row of logits.

use tch::{Device, Kind, Tensor};

/// Logits of which the highest is found at once.
const CHUNK: i64 = 1024;

/// Whether the highest of each row's logits `[R, V]` is a number: one NaN makes it NaN. Masked logits (`-∞`) may stand
/// among others.
pub fn finite_rows(logits: &Tensor) -> Vec<bool> {
    flags(&logits.amax([-1], false))
}

/// The place of the highest of each row's logits `[R, V]`, the first of equals, and whether it is a number.
///
/// On a CPU libtorch's `argmax` takes a number after the other in one thread, and `amax` many at once: the highest of every chunk is
/// found by the one, and its place, in a single chunk, by the other.
pub fn best_of_rows(logits: &Tensor) -> (Vec<i64>, Vec<bool>) {
    let vocabulary = logits.size()[1];
    let (highest, best) = if logits.device() == Device::Cpu && vocabulary >= 2 * CHUNK {
        in_chunks(logits, vocabulary)
    } else {
        (logits.amax([-1], false), logits.argmax(-1, false))
    };
    let best = Vec::<i64>::try_from(best.to_kind(Kind::Int64)).expect("one id for each row");
    (best, flags(&highest))
}

/// The highest of each row `[R]`, and its place `[R]`.
fn in_chunks(logits: &Tensor, vocabulary: i64) -> (Tensor, Tensor) {
    let mut of_chunks = logits.unfold(1, CHUNK, CHUNK).amax([-1], false);
    let rest = vocabulary % CHUNK;
    if rest > 0 {
        of_chunks = Tensor::cat(&[of_chunks, logits.narrow(1, vocabulary - rest, rest).amax([-1], true)], 1);
    }
    let first = of_chunks.argmax(-1, true) * CHUNK;
    // Behind the end of the last chunk stands the last logit again, which is not the first of equals.
    let places = (&first + Tensor::arange(CHUNK, (Kind::Int64, Device::Cpu))).clamp_max(vocabulary - 1);
    let within = logits.gather(1, &places, false).argmax(-1, false);
    (of_chunks.amax([-1], false), first.squeeze_dim(1) + within)
}

fn flags(highest: &Tensor) -> Vec<bool> {
    Vec::<bool>::try_from(highest.isfinite()).expect("one value for each row")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_found_in_whatever_chunk_it_is() {
        for (vocabulary, kind) in [(5, Kind::Float), (2 * CHUNK, Kind::Float), (3 * CHUNK + 7, Kind::BFloat16)] {
            let logits = Tensor::zeros([4, vocabulary], (kind, Device::Cpu));
            let put = |row: i64, place: i64, value: f64| {
                let _ = logits.get(row).get(place).fill_(value);
            };
            put(1, vocabulary - 1, 2.0);
            put(2, vocabulary / 2, 2.0);
            put(2, vocabulary - 1, 2.0);
            put(3, 3, f64::NAN);
            let _ = logits.get(0).narrow(0, 0, 2).fill_(f64::NEG_INFINITY);
            let (best, finite) = best_of_rows(&logits);
            assert_eq!(best, [2, vocabulary - 1, vocabulary / 2, 3], "{vocabulary}");
            assert_eq!(finite, [true, true, true, false]);
            assert_eq!(finite, finite_rows(&logits));
            let plain = Vec::<i64>::try_from(logits.argmax(-1, false)).expect("places");
            assert_eq!(best, plain);
        }
    }
}
