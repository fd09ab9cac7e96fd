//! A distributed interchange intervention (eq. 1): the state of the last token behind one block, within a subspace, is taken
//! from another prompt's run. With the whole space as subspace the model goes on as after the other prompt.
//!
//! `cargo run --example interchange [MODEL]`

use reft_core::interventions::interchange::Interchange;
use reft_experiments::prelude::*;

/// Logits `[V]` after the last token of a prompt.
fn next(loaded: &LoadedDecoder, prompt: &str, hooks: &dyn Hooks) -> Result<Tensor> {
    let ids = loaded.tokenizer.encode(prompt, Specials::AsModel)?;
    let extent = Extent { len: ids.len() as i64, prompt: ids.len() as i64 };
    let layout = Layout::packed(&[extent]);
    let mut pass = Pass { layout: &layout, hooks, cache: PastKeyValues::None, wanted: None };
    Ok(tch::no_grad(|| loaded.decoder.logits(&loaded.decoder.hidden(&Tensor::from_slice(&ids), &mut pass)).get(-1)))
}

/// Logits after the source prompt, and after the base prompt with the source's state behind the last block, interchanged in
/// the first `rank` directions of the space.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, rank: i64) -> Result<[Tensor; 2]> {
    let loaded = LoadedDecoder::open(model, Dtype::F32, DeviceSpec(Device::Cpu))?;
    let (base, source) = ("The opposite of hot is", "The capital of France is");
    let dims = loaded.decoder.dims();
    let site = Site { layer: LayerId(dims.layers - 1), component: Component::BlockOutput };

    let collect = Collect::new(vec![site]);
    let expected = next(&loaded, source, &collect)?;
    let (_, states) = collect.into_visits().remove(&site).expect("the site was visited");
    let last = loaded.tokenizer.encode(base, Specials::AsModel)?.len() as i64 - 1;
    let swap = Interchange {
        site,
        rows: Tensor::from_slice(&[last]),
        source: states.narrow(0, states.size()[0] - 1, 1),
        basis: Tensor::eye(dims.width, (Kind::Float, Device::Cpu)).narrow(0, 0, rank),
    };
    let got = next(&loaded, base, &swap)?;
    let word = |logits: &Tensor| loaded.tokenizer.decode(&[logits.argmax(0, false).int64_value(&[])], false);
    println!("`{source}` goes on with `{}`, `{base}` interchanged with `{}`", word(&expected)?, word(&got)?);
    Ok([expected, got])
}

fn main() -> Result<()> {
    let model = std::env::args().nth(1).unwrap_or("smollm2".to_owned());
    let width = *LoadedDecoder::open(&model, Dtype::F32, DeviceSpec(Device::Cpu))?.decoder.dims();
    run(&model, width.width).map(|_| ())
}
