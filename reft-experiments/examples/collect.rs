//! A hook of one's own: the mean norm of the residual stream behind every block, collected while the model reads a text.
//!
//! `cargo run --example collect [MODEL]`

use std::cell::RefCell;

use reft_experiments::prelude::*;

/// Reads every block's output and changes nothing.
#[derive(Default)]
struct Norms(RefCell<Vec<f64>>);

impl Hooks for Norms {
    fn visit(&self, at: Site, _x: &Tensor, y: Tensor) -> Tensor {
        // Models may also visit sites that no hook wants.
        if self.wants(at) {
            let norms = y.to_kind(Kind::Float).norm_scalaropt_dim(2.0, [-1i64], false);
            self.0.borrow_mut().push(norms.mean(Kind::Float).double_value(&[]));
        }
        y
    }

    fn wants(&self, at: Site) -> bool {
        at.component == Component::BlockOutput
    }
}

/// One mean norm for every block.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, text: &str) -> Result<Vec<f64>> {
    let loaded = LoadedDecoder::open(model, Dtype::F32, DeviceSpec(Device::Cpu))?;
    let ids = loaded.tokenizer.encode(text, Specials::AsModel)?;
    let extent = Extent { len: ids.len() as i64, prompt: ids.len() as i64 };
    let (layout, norms) = (Layout::packed(&[extent]), Norms::default());
    let mut pass = Pass { layout: &layout, hooks: &norms, cache: PastKeyValues::None, wanted: None };
    let _ = tch::no_grad(|| loaded.decoder.hidden(&Tensor::from_slice(&ids), &mut pass));
    let norms = norms.0.into_inner();
    for (block, norm) in norms.iter().enumerate() {
        println!("block {block}: mean norm {norm:.2}");
    }
    Ok(norms)
}

fn main() -> Result<()> {
    run(&std::env::args().nth(1).unwrap_or("smollm2".to_owned()), "The quick brown fox").map(|_| ())
}
