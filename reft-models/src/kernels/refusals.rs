//! Argument checks of the kernels: each case changes one argument of a valid call.

use tch::{Kind, Tensor, no_grad};

use super::tests::normal;
use super::{AttentionMask, AttentionShape, GateActivation, KernelError, Packed, Past, attention, gated, rms_norm};

/// Arguments of [`attention`]: two sequences of 3 and 1 tokens after 2 and 4 of the past, H 4, K 2, E 8.
struct Call {
    qkv: Tensor,
    past: Option<(Tensor, Tensor)>,
    append: bool,
    sequences: Tensor,
    cos: Tensor,
    sin: Tensor,
    heads: i64,
    kv_heads: i64,
    window: Option<i64>,
    scaled_by: f64,
    ring: Option<i64>,
}

const QKV: [i64; 2] = [4, (4 + 2 * 2) * 8];
const PAST: [i64; 3] = [10, 2, 8];

fn sequences(rows: [[i64; 4]; 2]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([2, 4])
}

impl Call {
    fn sound(append: bool) -> Self {
        Self {
            qkv: normal(&QKV, 1),
            past: Some((normal(&PAST, 2), normal(&PAST, 3))),
            append,
            sequences: sequences([[0, 3, 0, 2], [3, 1, 5, 4]]),
            cos: normal(&[4, 4], 4),
            sin: normal(&[4, 4], 5),
            heads: 4,
            kv_heads: 2,
            window: None,
            scaled_by: 8.0,
            ring: None,
        }
    }

    fn run(&mut self) -> Result<Tensor, KernelError> {
        let Self { qkv, past, append, sequences, cos, sin, .. } = self;
        let past = match past {
            None => Past::None,
            Some((k, v)) if *append => Past::Grow(k, v),
            Some((k, v)) => Past::Fixed(k, v),
        };
        let (heads, kv_heads, sight) = (self.heads, self.kv_heads, AttentionMask::Causal { window: self.window });
        let shape =
            AttentionShape { sequences, cos, sin, heads, kv_heads, sight, scaled_by: self.scaled_by, ring: self.ring };
        attention(qkv, &shape, past)
    }
}

fn check(what: &str, outcome: Result<Tensor, KernelError>, expected: &str) {
    let error = outcome.err().unwrap_or_else(|| panic!("{what}: taken, should be refused")).to_string();
    assert!(error.contains(expected) && error.lines().count() == 1, "{what}: {error}");
}

/// What is changed, how, and what the error says.
type Case = (&'static str, fn(&mut Call), &'static str);

/// With a constant past, gradients on.
const FIXED: &[Case] = &[
    ("qkv f16", |c| c.qkv = c.qkv.to_kind(Kind::Half), "qkv must be Float or BFloat16, not Half"),
    ("qkv i64", |c| c.qkv = c.qkv.to_kind(Kind::Int64), "qkv must be Float or BFloat16, not Long"),
    ("qkv bf16, cache f32", |c| c.qkv = c.qkv.to_kind(Kind::BFloat16), "past keys must be BFloat16, not Float"),
    ("qkv [B, T, D]", |c| c.qkv = c.qkv.unsqueeze(0), "qkv must have 2 dimensions, not 3"),
    ("qkv too narrow", |c| c.qkv = normal(&[4, 60], 1), "qkv has rows of 60"),
    ("qkv of narrower heads", |c| c.qkv = normal(&[4, 56], 1), "cos and sin must be [4, R/2] with at most 7"),
    ("qkv of wider heads", |c| c.qkv = normal(&[4, 72], 1), "past keys must be [rows, 2, 9]"),
    ("qkv not of whole heads", |c| c.qkv = normal(&[4, 65], 1), "qkv has rows of 65"),
    ("qkv without columns", |c| c.qkv = normal(&[4, 0], 1), "qkv has rows of 0"),
    ("too few rows", |c| c.qkv = normal(&[3, QKV[1]], 1), "cos and sin must be [3"),
    ("qkv sparse", |c| c.qkv = c.qkv.to_mkldnn(), "qkv must be a dense tensor"),
    ("cos bf16", |c| c.cos = c.cos.to_kind(Kind::BFloat16), "cos must be Float, not BFloat16"),
    ("sin f64", |c| c.sin = c.sin.to_kind(Kind::Double), "sin must be Float, not Double"),
    ("cos one row short", |c| c.cos = normal(&[3, 4], 4), "cos and sin must be [4, R/2]"),
    ("sin wider than cos", |c| c.sin = normal(&[4, 8], 5), "cos and sin must be [4, R/2]"),
    ("cos flat", |c| c.cos = normal(&[16], 4), "cos must have 2 dimensions, not 1"),
    ("cos of wider heads", |c| (c.cos, c.sin) = (normal(&[4, 5], 4), normal(&[4, 5], 4)), "at most 8 rotated"),
    ("a constant ring", |c| (c.window, c.ring) = (Some(2), Some(3)), "a past that does not grow is no ring"),
    ("nothing to see", |c| c.window = Some(0), "a window of 0 keys"),
    ("negative window", |c| c.window = Some(-3), "a window of -3 keys"),
    ("scores without bound", |c| c.scaled_by = 0.0, "scores cannot be scaled by inf"),
    ("scores that are no numbers", |c| c.scaled_by = -1.0, "scores cannot be scaled by"),
    ("cos trained", |c| c.cos = c.cos.set_requires_grad(true), "cos requires a gradient"),
    ("no heads", |c| c.heads = 0, "qkv has rows of 64"),
    ("negative heads", |c| c.heads = i64::MIN, "qkv has rows of 64"),
    ("more heads than there are", |c| c.heads = i64::MAX, "qkv has rows of 64"),
    ("no key/value heads", |c| c.kv_heads = 0, "qkv has rows of 64"),
    ("more key/value heads than there are", |c| c.kv_heads = i64::MAX, "qkv has rows of 64"),
    ("heads that do not divide", |c| (c.heads, c.kv_heads) = (2, 3), "2 query heads do not divide among 3"),
    ("keys bf16", |c| c.past = Some((normal(&PAST, 2).to_kind(Kind::BFloat16), normal(&PAST, 3))), "past keys must be"),
    (
        "values f64",
        |c| c.past = Some((normal(&PAST, 2), normal(&PAST, 3).to_kind(Kind::Double))),
        "past values must be",
    ),
    (
        "keys [rows, K E]",
        |c| c.past = Some((normal(&[10, 16], 2), normal(&PAST, 3))),
        "past keys must have 3 dimensions",
    ),
    (
        "fewer values than keys",
        |c| c.past = Some((normal(&PAST, 2), normal(&[9, 2, 8], 3))),
        "past keys are [10, 2, 8]",
    ),
    ("cache of other heads", |c| c.past = Some((normal(&[10, 4, 4], 2), normal(&[10, 4, 4], 3))), "[rows, 2, 8]"),
    (
        "keys trained",
        |c| c.past = Some((normal(&PAST, 2).set_requires_grad(true), normal(&PAST, 3))),
        "requires a gradient",
    ),
    ("past without a cache", |c| c.past = None, "do not fit into the 0 rows of the cache"),
    ("sequences i32", |c| c.sequences = c.sequences.to_kind(Kind::Int), "sequences must be Long, not Int"),
    ("sequences flat", |c| c.sequences = c.sequences.flatten(0, -1), "sequences must have 2 dimensions"),
    (
        "sequences of three numbers",
        |c| c.sequences = c.sequences.narrow(1, 0, 3),
        "sequences must be contiguous [B, 4]",
    ),
    ("sequences strided", |c| c.sequences = c.sequences.tr().contiguous().tr(), "sequences must be contiguous [B, 4]"),
    ("negative row", |c| c.sequences = sequences([[-1, 3, 0, 2], [3, 1, 5, 4]]), "sequence 0: 3 tokens from row -1 on"),
    ("negative length", |c| c.sequences = sequences([[0, -3, 0, 2], [3, 1, 5, 4]]), "sequence 0: -3 tokens"),
    (
        "beyond the rows",
        |c| c.sequences = sequences([[0, 3, 0, 2], [3, 2, 5, 4]]),
        "sequence 1: 2 tokens from row 3 on",
    ),
    ("row without bound", |c| c.sequences = sequences([[i64::MAX, 1, 0, 2], [3, 1, 5, 4]]), "do not lie in the 4 rows"),
    (
        "length without bound",
        |c| c.sequences = sequences([[1, i64::MAX, 0, 2], [3, 1, 5, 4]]),
        "do not lie in the 4 rows",
    ),
    ("shared rows", |c| c.sequences = sequences([[0, 3, 0, 2], [2, 2, 5, 4]]), "two sequences share rows of the pass"),
    ("negative past", |c| c.sequences = sequences([[0, 3, 0, -2], [3, 1, 5, 4]]), "sequence 0: -2 tokens of the past"),
    (
        "negative past row",
        |c| c.sequences = sequences([[0, 3, -1, 2], [3, 1, 5, 4]]),
        "2 tokens of the past from row -1",
    ),
    ("past beyond the cache", |c| c.sequences = sequences([[0, 3, 0, 2], [3, 1, 7, 4]]), "do not fit into the 10 rows"),
    (
        "past without bound",
        |c| c.sequences = sequences([[0, 3, 0, 2], [3, 1, 5, i64::MAX]]),
        "do not fit into the 10 rows",
    ),
    (
        "past row without bound",
        |c| c.sequences = sequences([[0, 3, i64::MAX, 2], [3, 1, 5, 4]]),
        "do not fit into the 10",
    ),
];

/// With a cache that grows, under `no_grad`.
const GROWING: &[Case] = &[
    (
        "a ring beyond the cache",
        |c| (c.window, c.ring, c.sequences) = (Some(2), Some(6), sequences([[0, 3, 0, 2], [3, 1, 7, 9]])),
        "sequence 1: 9 tokens of the past from row 7 on and its new ones do not fit",
    ),
    (
        "a ring in another",
        |c| (c.window, c.ring, c.sequences) = (Some(2), Some(5), sequences([[0, 3, 0, 9], [3, 1, 4, 9]])),
        "share rows of a cache that grows",
    ),
    ("a ring below the window", |c| (c.window, c.ring) = (Some(4), Some(3)), "does not hold a window of 4"),
    ("a ring without window", |c| c.ring = Some(3), "does not hold a window of"),
    ("cache f32, qkv bf16", |c| c.qkv = c.qkv.to_kind(Kind::BFloat16), "past keys must be BFloat16, not Float"),
    ("cache one row too small", |c| c.past = Some((normal(&[9, 2, 8], 2), normal(&[9, 2, 8], 3))), "and its new ones"),
    (
        "no room for what is new",
        |c| c.sequences = sequences([[0, 3, 0, 2], [3, 1, 6, 4]]),
        "and its new ones do not fit",
    ),
    (
        "a new sequence beyond it",
        |c| c.sequences = sequences([[0, 3, 0, 2], [3, 1, 10, 0]]),
        "and its new ones do not fit",
    ),
    (
        "shared cache rows",
        |c| c.sequences = sequences([[0, 3, 0, 2], [3, 1, 4, 4]]),
        "share rows of a cache that grows",
    ),
    (
        "one new token in another's past",
        |c| c.sequences = sequences([[0, 3, 2, 0], [3, 1, 1, 4]]),
        "share rows of a cache",
    ),
    (
        "strided cache",
        |c| c.past = Some((normal(&[2, 10, 8], 2).transpose(0, 1), normal(&PAST, 3))),
        "must be contiguous",
    ),
    (
        "keys that are values",
        |c| c.past = c.past.as_ref().map(|(k, _)| (k.shallow_clone(), k.shallow_clone())),
        "refer to a single memory location",
    ),
];

#[test]
fn invalid_arguments_of_attention_are_refused() {
    assert!(Call::sound(false).run().is_ok());
    for &(what, change, expected) in FIXED {
        let mut call = Call::sound(false);
        change(&mut call);
        check(what, call.run(), expected);
    }
}

#[test]
fn a_cache_grows_within_its_bounds_only() {
    no_grad(|| {
        assert!(Call::sound(true).run().is_ok());
        for &(what, change, expected) in GROWING {
            let mut call = Call::sound(true);
            change(&mut call);
            let before = call.past.as_ref().map(|(k, v)| (k.copy(), v.copy()));
            check(what, call.run(), expected);
            assert!(call.past == before, "{what}: the cache was written to");
        }
    });
}

#[test]
fn a_cache_does_not_grow_while_gradients_are_on() {
    check("gradients on", Call::sound(true).run(), "a cache cannot grow while gradients are on");
}

#[test]
fn backward_after_an_in_place_change_of_the_cache_is_refused() {
    let mut call = Call::sound(false);
    call.qkv = call.qkv.set_requires_grad(true);
    let loss = call.run().expect("sound").sum(Kind::Float);
    call.append = true;
    let _ = no_grad(|| call.run()).expect("sound");
    let error = Tensor::f_run_backward(&[loss], &[&call.qkv], false, false).expect_err("refused").to_string();
    assert!(error.contains("modified by an inplace operation"), "{error}");
}

#[test]
fn a_gradient_of_a_gradient_is_refused() {
    let x = normal(&[3, 8], 1).set_requires_grad(true);
    let loss = gated(&x, GateActivation::Silu).expect("sound").sum(Kind::Float);
    let error = Tensor::f_run_backward(&[loss], &[&x], true, true).expect_err("refused").to_string();
    assert!(error.contains("no second derivative"), "{error}");
}

#[test]
fn invalid_arguments_of_normalisation_are_refused() {
    let (x, w) = (normal(&[3, 8], 1), normal(&[8], 2));
    assert!(rms_norm(&x, &w, 1e-5).is_ok());
    let strided = normal(&[8, 3], 1).tr();
    assert!(rms_norm(&strided, &w, 1e-5).is_ok(), "strides are brought in order");
    let cases = [
        ("[B, T, D]", x.unsqueeze(0), w.shallow_clone(), 1e-5, "x must have 2 dimensions, not 3"),
        ("a vector", x.get(0), w.shallow_clone(), 1e-5, "x must have 2 dimensions, not 1"),
        ("f16", x.to_kind(Kind::Half), w.to_kind(Kind::Half), 1e-5, "x must be Float or BFloat16, not Half"),
        ("weight bf16", x.shallow_clone(), w.to_kind(Kind::BFloat16), 1e-5, "weight must be Float, not BFloat16"),
        ("x bf16", x.to_kind(Kind::BFloat16), w.shallow_clone(), 1e-5, "weight must be BFloat16, not Float"),
        ("weight too short", x.shallow_clone(), normal(&[7], 2), 1e-5, "weight has 7 values, x has rows of 8"),
        ("weight too long", x.shallow_clone(), normal(&[9], 2), 1e-5, "weight has 9 values, x has rows of 8"),
        ("weight a matrix", x.shallow_clone(), normal(&[1, 8], 2), 1e-5, "weight must have 1 dimensions, not 2"),
        ("no columns", normal(&[3, 0], 1), normal(&[0], 1), 1e-5, "x has rows of 0"),
        (
            "weight trained",
            x.shallow_clone(),
            normal(&[8], 2).set_requires_grad(true),
            1e-5,
            "weight requires a gradient",
        ),
        ("eps negative", x.shallow_clone(), w.shallow_clone(), -1.0, "eps must not be negative"),
        ("eps NaN", x.shallow_clone(), w.shallow_clone(), f64::NAN, "eps must not be negative"),
    ];
    for (what, x, w, eps, expected) in cases {
        check(what, rms_norm(&x, &w, eps), expected);
    }
}

#[test]
fn invalid_arguments_of_the_gated_unit_are_refused() {
    assert!(gated(&normal(&[3, 8], 1), GateActivation::Silu).is_ok());
    check("odd width", gated(&normal(&[3, 7], 1), GateActivation::Silu), "its width 7 is odd");
    check("[B, T, 2 D]", gated(&normal(&[1, 3, 8], 1), GateActivation::Silu), "x must have 2 dimensions, not 3");
    check(
        "f64",
        gated(&normal(&[3, 8], 1).to_kind(Kind::Double), GateActivation::Silu),
        "x must be Float or BFloat16, not Double",
    );
}

#[test]
fn invalid_arguments_of_packed_weights_are_refused() {
    let narrow = |shape: &[i64]| normal(shape, 1).to_kind(Kind::BFloat16);
    let Some(packed) = Packed::new(&narrow(&[6, 8])) else {
        eprintln!(
            "invalid_arguments_of_packed_weights_are_refused: this processor packs no bf16 weights, nothing to refuse"
        );
        return;
    };
    assert!(packed.linear(&narrow(&[3, 8]), Some(&narrow(&[6]))).is_ok());
    check("f32", packed.linear(&normal(&[3, 8], 1), None), "x must be BFloat16, not Float");
    check("[B, T, in]", packed.linear(&narrow(&[1, 3, 8]), None), "x must have 2 dimensions, not 3");
    check("too narrow", packed.linear(&narrow(&[3, 7]), None), "the weight takes rows of 8, x has rows of 7");
    check("bias f32", packed.linear(&narrow(&[3, 8]), Some(&normal(&[6], 1))), "bias must be BFloat16, not Float");
    check("bias too short", packed.linear(&narrow(&[3, 8]), Some(&narrow(&[5]))), "gives rows of 6, bias has 5");
    let trained = narrow(&[6]).set_requires_grad(true);
    check("bias trained", packed.linear(&narrow(&[3, 8]), Some(&trained)), "bias requires a gradient");
}

#[test]
fn invalid_arguments_of_weights_in_panels_are_refused() {
    let Some(packed) = Packed::new(&normal(&[6, 8], 1)) else {
        eprintln!(
            "invalid_arguments_of_weights_in_panels_are_refused: this processor packs no f32 weights, nothing to refuse"
        );
        return;
    };
    assert!(packed.linear(&normal(&[3, 8], 1), Some(&normal(&[6], 1))).is_ok());
    assert_eq!(packed.linear(&normal(&[0, 8], 1), None).expect("no rows are no fault").size(), [0, 6]);
    check("bf16", packed.linear(&normal(&[3, 8], 1).to_kind(Kind::BFloat16), None), "x must be Float, not BFloat16");
    check("[B, T, in]", packed.linear(&normal(&[1, 3, 8], 1), None), "x must have 2 dimensions, not 3");
    check("too narrow", packed.linear(&normal(&[3, 7], 1), None), "is not [6, 7]");
    check("bias f64", packed.linear(&normal(&[3, 8], 1), Some(&normal(&[6], 1).to_kind(Kind::Double))), "bias must be");
    check("bias too short", packed.linear(&normal(&[3, 8], 1), Some(&normal(&[5], 1))), "gives rows of 6, bias has 5");
    let trained = normal(&[6], 1).set_requires_grad(true);
    check("bias trained", packed.linear(&normal(&[3, 8], 1), Some(&trained)), "bias requires a gradient");
}
