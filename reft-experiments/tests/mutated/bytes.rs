//! Mutations of a file's bytes.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Pieces that readers stumble over.
const PIECES: [&[u8]; 26] = [
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"null",
    b"NaN",
    b"-Infinity",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"9223372036854775808",
    b"18446744073709551616",
    b"0.5",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[[[[[[[[[[[[[[[[",
    b"]",
    b": ",
    b"- &a [*a]",
    b"<<: *a",
    b"{{ 1 / 0 }}",
    b"{% for x in range(99999999) %}x{% endfor %}",
];

/// A changed copy, by one to four changes.
pub fn mutate(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        change(&mut bytes, rng);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        bytes.extend_from_slice(PIECES[rng.random_range(0..PIECES.len())]);
        return;
    }
    // Headers decide more than what follows them.
    let end = if rng.random_bool(0.5) { bytes.len().min(4096) } else { bytes.len() };
    let at = rng.random_range(0..end);
    let span = at..(at + rng.random_range(1..=32)).min(bytes.len());
    match rng.random_range(0..9) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => drop(bytes.drain(span)),
        3 => {
            let copy = bytes[span.clone()].to_vec();
            drop(bytes.splice(at..at, copy));
        }
        4 => drop(bytes.splice(at..at, PIECES[rng.random_range(0..PIECES.len())].iter().copied())),
        5 => bytes.truncate(at),
        6 => replace_number(bytes, at, rng),
        7 => {
            let width = span.len().min(8);
            bytes[at..at + width].copy_from_slice(&interesting(rng).to_le_bytes()[..width]);
        }
        _ => {
            let from = rng.random_range(0..bytes.len());
            let piece = bytes[from..(from + span.len()).min(bytes.len())].to_vec();
            drop(bytes.splice(span, piece));
        }
    }
}

fn interesting(rng: &mut ChaCha8Rng) -> u64 {
    let near = [0, 1 << 7, 1 << 15, 1 << 31, 1 << 32, 1 << 48, 1 << 63, u64::MAX];
    near[rng.random_range(0..near.len())].wrapping_add(rng.random_range(0..3)).wrapping_sub(1)
}

/// Another number where the next one stands in a text.
fn replace_number(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
    let Some(first) = (at..bytes.len()).find(|&index| bytes[index].is_ascii_digit()) else { return };
    let end = (first..bytes.len()).find(|&index| !bytes[index].is_ascii_digit()).unwrap_or(bytes.len());
    let number = match rng.random_range(0..4) {
        0 => "0".to_owned(),
        1 => format!("-{}", rng.random_range(1..100)),
        2 => interesting(rng).to_string(),
        _ => rng.random_range(0..1_000_000).to_string(),
    };
    drop(bytes.splice(first..end, number.into_bytes()));
}
