//! Hidden states of texts: what `reft collect` writes and reading vectors are computed from.

use reft_core::adaptation::{Adaptation, Mode, OverlapError};
use reft_core::hooks::{Chain, Collect, Hooks, NoHooks};
use reft_core::layout::{Extent, Layout, Span};
use reft_core::positions::{Positions, Truncation, TyingGroup};
use reft_core::site::Site;
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use tch::{Kind, Tensor, no_grad};

/// What is kept of the states at the positions asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Each position's state.
    Tokens,
    /// A text's mean.
    Mean,
}

/// States that are asked for.
#[derive(Clone, Debug)]
pub struct StateRequest {
    /// Where in the model.
    pub sites: Vec<Site>,
    /// At which tokens; a text has no generated ones.
    pub positions: Positions,
    /// Whether each state or their mean is kept.
    pub keep: Keep,
}

/// The states of some texts.
#[derive(Debug)]
pub struct States {
    /// Of each site `[M, d]`, f32, on the host: text after text, by position.
    pub at: Vec<(Site, Tensor)>,
    /// Of each text, the positions that its rows are of; a mean is one row for all of them.
    pub positions: Vec<Vec<i64>>,
}

impl StateRequest {
    /// The states of one pass over these token ids, with an adaptation's edits where one is given.
    ///
    /// # Errors
    /// When interventions overlap.
    pub fn of(
        &self,
        model: &dyn Decoder,
        adaptation: Option<&dyn Adaptation>,
        texts: &[&[i64]],
    ) -> Result<States, OverlapError> {
        let extent = |ids: &&[i64]| Extent { len: ids.len() as i64, prompt: ids.len() as i64 };
        let layout = Layout::packed(&texts.iter().map(extent).collect::<Vec<_>>());
        let device = model.options().1;
        let step = adaptation.map(|adaptation| adaptation.begin(Mode::Eval));
        let edits: Box<dyn Hooks> = match &step {
            Some(step) => step.hooks(&layout)?,
            None => Box::new(NoHooks),
        };
        let collect = Collect::new(self.sites.clone());
        let hooks = Chain(vec![edits, Box::new(&collect)]);
        no_grad(|| {
            let mut pass = Pass { layout: &layout, hooks: &hooks, cache: PastKeyValues::None, wanted: None };
            let _ = model.hidden(&layout.place(texts, device), &mut pass);
        });
        drop(hooks);
        let positions = self.positions_in(&layout);
        let kept = collect.into_states().into_iter().map(|(site, y)| (site, self.kept(&layout, &positions, &y)));
        Ok(States { at: kept.collect(), positions })
    }

    /// The positions asked for in each text.
    fn positions_in(&self, layout: &Layout) -> Vec<Vec<i64>> {
        let rows = self.positions.resolve(layout, &[TyingGroup::Both], Truncation::Paper).remove(0);
        let mut rows = rows.into_iter().peekable();
        let of_text = |span: &Span| {
            let mine = std::iter::from_fn(|| rows.next_if(|&row| row < span.row + span.len));
            mine.map(|row| row - span.row).collect()
        };
        layout.spans().iter().map(of_text).collect()
    }

    fn kept(&self, layout: &Layout, positions: &[Vec<i64>], y: &Tensor) -> Tensor {
        let of_text = |(text, positions): (usize, &Vec<i64>)| {
            let row = |&position: &i64| layout.row(text, position).expect("a position of this pass");
            let rows = Tensor::from_slice(&positions.iter().map(row).collect::<Vec<_>>()).to_device(y.device());
            let states = y.index_select(0, &rows).to_kind(Kind::Float);
            match self.keep {
                Keep::Mean if !positions.is_empty() => states.mean_dim([0i64].as_slice(), true, Kind::Float),
                Keep::Mean | Keep::Tokens => states,
            }
        };
        let states: Vec<Tensor> = positions.iter().enumerate().map(of_text).collect();
        Tensor::cat(&states, 0).to_device(tch::Device::Cpu)
    }
}
