//! Decoding with a model whose next token follows from the last one by a table of logits.

use std::collections::BTreeMap;
use std::ops::Range;

use reft_core::site::{Dims, LinearWeight, Mlp, Site};
use reft_models::decode::settings::Sampling;
use reft_models::decode::{DecodeError, Decoding, Generation, Generator, Stopping, undecided};
use reft_models::model::{Decoder, Pass};
use reft_models::weights::WeightsError;
use tch::{Device, Kind, Tensor};

const V: usize = 6;
const END: i64 = 5;

/// Logits of the token after each token.
struct Table {
    rows: [[f32; V]; V],
    dims: Dims,
}

impl Table {
    fn new(rows: [[f32; V]; V]) -> Self {
        let vocab = V as i64;
        Self {
            rows,
            dims: Dims {
                layers: 1,
                width: 1,
                heads: 1,
                kv_heads: 1,
                head_width: 1,
                mlp_width: 1,
                vocab,
                mlp: Mlp::Gated,
            },
        }
    }

    /// Every token is followed by the next one, the last by itself.
    fn chain() -> Self {
        let row = |token: usize| std::array::from_fn(|next| if next == (token + 1).min(V - 1) { 2.0 } else { 0.0 });
        Self::new(std::array::from_fn(row))
    }

    fn with(mut self, token: usize, row: [f32; V]) -> Self {
        self.rows[token] = row;
        self
    }
}

impl Decoder for Table {
    fn dims(&self) -> &Dims {
        &self.dims
    }

    fn context(&self) -> usize {
        usize::MAX
    }

    fn on(&self, _: &BTreeMap<String, Tensor>) -> Result<Box<dyn Decoder>, WeightsError> {
        unreachable!("decoding trains no weights")
    }

    fn weight(&self, _: Site) -> Option<LinearWeight> {
        None
    }

    fn options(&self) -> (Kind, Device) {
        (Kind::Float, Device::Cpu)
    }

    fn parameters(&self) -> i64 {
        0
    }

    fn embed(&self, ids: &Tensor, _: &Pass<'_>) -> Tensor {
        ids.to_kind(Kind::Float).unsqueeze(-1)
    }

    fn layers(&self, h: Tensor, _: Range<usize>, _: &mut Pass<'_>) -> Tensor {
        h
    }

    fn normalise(&self, h: &Tensor) -> Tensor {
        h.shallow_clone()
    }

    fn head(&self, h: &Tensor) -> Tensor {
        let table = Tensor::from_slice(self.rows.as_flattened()).reshape([V as i64, V as i64]);
        table.index_select(0, &h.squeeze_dim(-1).to_kind(Kind::Int64))
    }
}

fn run(model: &Table, decoding: &Decoding, batch: usize, prompts: &[&[i64]]) -> Result<Vec<Generation>, DecodeError> {
    let stop = Stopping { max_new: 8, ends: vec![END] };
    Generator { model, adaptation: None, batch, stop, decoding, seed: 1 }.run(prompts, &undecided)
}

fn sampling() -> Decoding {
    Decoding { sample: Some(Sampling::default()), ..Decoding::default() }
}

/// Greedy with guesses and without, penalised, with beams, sampled.
fn ways() -> [Decoding; 5] {
    let greedy = Decoding::default;
    [
        greedy(),
        Decoding { lookahead: 0, ..greedy() },
        Decoding { no_repeat_ngram: 7, ..greedy() },
        Decoding { beams: 2, ..greedy() },
        Decoding { sample: Some(Sampling { temperature: 1e-9, ..Sampling::default() }), ..greedy() },
    ]
}

#[test]
fn logits_that_are_no_numbers_stop_decoding() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut row = [0.0; V];
        row[4] = bad;
        let model = Table::chain().with(3, row);
        for decoding in ways() {
            // The first answer is right, and what it said is guessed in the second.
            let error = run(&model, &decoding, 1, &[&[4], &[0, 1]]).expect_err("not finite");
            if decoding.beams > 1 {
                // Another beam may come to the token earlier.
                assert!(matches!(error, DecodeError::NotFinite { .. }), "{error}");
                continue;
            }
            assert!(matches!(error, DecodeError::NotFinite { prompt: 1, token: 2 }), "{error} with {decoding:?}");
            assert!(error.to_string().contains("token 3 of the answer"), "{error}");
        }
    }
    let nothing = Table::chain().with(3, [f32::NEG_INFINITY; V]);
    assert!(matches!(
        run(&nothing, &Decoding::default(), 1, &[&[2]]),
        Err(DecodeError::NotFinite { prompt: 0, token: 1 })
    ));
}

#[test]
fn masked_logits_are_no_fault() {
    const NONE: f32 = f32::NEG_INFINITY;
    let model = Table::chain().with(3, [NONE, NONE, NONE, NONE, 0.0, NONE]);
    for decoding in ways() {
        let answer = run(&model, &decoding, 4, &[&[0, 1]]).expect("finite").remove(0);
        assert_eq!(answer.ids[..4], [2, 3, 4, 5], "{decoding:?}");
    }
}

#[test]
fn equal_prompts_draw_different_samples_in_every_batch_size() {
    let model = Table::new([[0.0; V]; V]);
    let prompts: Vec<&[i64]> = vec![&[1, 2], &[3], &[1, 2], &[1, 2], &[3]];
    let answers = |batch| run(&model, &sampling(), batch, &prompts).expect("finite");
    let one = answers(1);
    for batch in [2, 3, 16] {
        assert_eq!(answers(batch), one, "batches of {batch}");
    }
    assert!(one[0] != one[2] && one[2] != one[3] && one[0] != one[3] && one[1] != one[4], "{one:?}");
    let alone = run(&model, &sampling(), 1, &prompts[..1]).expect("finite").remove(0);
    assert_eq!(alone, one[0], "what else is asked does not matter");
}

#[test]
fn an_answer_ends_where_the_rules_leave_nothing_to_say() {
    let model = Table::new([[0.5; V]; V]);
    let stop = || Stopping { max_new: 20, ends: Vec::new() };
    for decoding in [
        Decoding { no_repeat_ngram: 1, ..Decoding::default() },
        Decoding { no_repeat_ngram: 1, ..sampling() },
        Decoding { no_repeat_ngram: 1, beams: 2, ..Decoding::default() },
    ] {
        let generator =
            Generator { model: &model, adaptation: None, batch: 1, stop: stop(), decoding: &decoding, seed: 1 };
        let answer = generator.run(&[&[0]], &undecided).expect("finite").remove(0);
        assert!(answer.ids.len() <= V, "{answer:?}");
        let mut said = answer.ids.clone();
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), answer.ids.len(), "no token twice: {answer:?}");
    }
}

#[test]
fn an_empty_prompt_is_refused() {
    let error = run(&Table::chain(), &Decoding::default(), 2, &[&[1], &[]]).expect_err("nothing to go on from");
    assert!(matches!(error, DecodeError::Empty { prompt: 1 }), "{error}");
}
