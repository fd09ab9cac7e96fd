//! AdamW on one flat tensor, with a state that can be saved: libtorch's own optimiser cannot export its.

use tch::{Device, Tensor, no_grad};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// Numbers of a part of an update on the CPU: its tensors lie in the second-level cache.
const PART: i64 = 1 << 17;

/// First and second moments of every trainable number, and the updates done.
#[derive(Debug)]
pub struct AdamW {
    /// `m`, `[count]`.
    pub first: Tensor,
    /// `v`, `[count]`.
    pub second: Tensor,
    /// Updates done so far.
    pub updates: u64,
    /// Weight decay of each number, `[count]`; none when nothing decays.
    decay: Option<Tensor>,
    /// Learning rate of each number as a multiple of an update's, `[count]`; none when all are 1.
    rates: Option<Tensor>,
    /// Updates done when the moments began.
    began: u64,
}

impl AdamW {
    /// A fresh optimiser for `flat`; `mask` `[count]` is 1 where `weight_decay` applies.
    pub fn new(flat: &Tensor, weight_decay: f64, mask: &Tensor) -> Self {
        Self {
            first: flat.zeros_like().detach(),
            second: flat.zeros_like().detach(),
            updates: 0,
            decay: (weight_decay != 0.0).then(|| mask * weight_decay),
            rates: None,
            began: 0,
        }
    }

    /// From now on numbers move at these multiples of an update's learning rate.
    pub fn set_rates(&mut self, rates: Option<Tensor>) {
        self.rates = rates;
    }

    /// Counts the moments from update `began` on: those before belong to an earlier stage.
    pub fn begin_at(&mut self, began: u64) {
        self.began = began;
    }

    /// Forgets the moments: a new stage begins.
    pub fn forget(&mut self) {
        no_grad(|| [&mut self.first, &mut self.second].into_iter().for_each(|moment| drop(moment.zero_())));
    }

    /// One update of `flat` with gradient `grad`, as `torch.optim.AdamW` does it. On the CPU it is done part by part, so that what
    /// is in between stays in the cache and asks for no fresh pages.
    pub fn update(&mut self, flat: &Tensor, grad: &Tensor, lr: f64) {
        self.updates += 1;
        let count = flat.numel() as i64;
        let part = if flat.device() == Device::Cpu { PART } else { count.max(1) };
        for begin in (0..count).step_by(part as usize) {
            let len = part.min(count - begin);
            no_grad(|| self.update_part(flat, grad, lr, |tensor| tensor.narrow(0, begin, len)));
        }
    }

    fn update_part(&self, flat: &Tensor, grad: &Tensor, lr: f64, part: impl Fn(&Tensor) -> Tensor) {
        let (mut flat, grad) = (part(flat), part(grad));
        let (mut first, mut second) = (part(&self.first), part(&self.second));
        let rates = self.rates.as_ref().map(&part);
        if let Some(decay) = self.decay.as_ref().map(&part) {
            let shrink = match &rates {
                None => decay * -lr,
                Some(rates) => decay * rates * -lr,
            };
            let _ = flat.g_mul_(&(shrink + 1.0));
        }
        let _ = first.lerp_(&grad, 1.0 - BETA1);
        let _ = second.g_mul_scalar_(BETA2).addcmul_(&grad, &(&grad * (1.0 - BETA2)));
        let counted = i32::try_from(self.updates - self.began).unwrap_or(i32::MAX);
        let correction = |beta: f64| 1.0 - beta.powi(counted);
        let scale = (&second / correction(BETA2)).sqrt_().g_add_scalar_(EPS);
        let step = &first * (-lr / correction(BETA1));
        let step = match &rates {
            None => step,
            Some(rates) => step * rates,
        };
        let _ = flat.addcdiv_(&step, &scale);
    }
}

#[cfg(test)]
mod tests {
    use reft_core::testing::{Tol, assert_close, normal};

    use super::*;

    /// Textbook AdamW, number by number in f64.
    fn reference(mut p: f64, gradients: &[f64], lr: f64, decay: f64) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (t, &g) in (1..).zip(gradients) {
            p -= lr * decay * p;
            m = BETA1 * m + (1.0 - BETA1) * g;
            v = BETA2 * v + (1.0 - BETA2) * g * g;
            let (m_hat, v_hat) = (m / (1.0 - BETA1.powi(t)), v / (1.0 - BETA2.powi(t)));
            p -= lr * m_hat / (v_hat.sqrt() + EPS);
        }
        p
    }

    #[test]
    fn updates_follow_the_textbook() {
        let (start, grads) = (normal(&[6], 1), normal(&[5, 6], 2));
        let mask = Tensor::from_slice(&[1f32, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let flat = start.copy();
        let mut optimiser = AdamW::new(&flat, 0.1, &mask);
        for step in 0..5 {
            optimiser.update(&flat, &grads.get(step), 1e-2);
        }
        let expected: Vec<f32> = (0..6)
            .map(|i| {
                let gradients: Vec<f64> = (0..5).map(|t| grads.double_value(&[t, i])).collect();
                let decay = 0.1 * mask.double_value(&[i]);
                reference(start.double_value(&[i]), &gradients, 1e-2, decay) as f32
            })
            .collect();
        assert_close("parameters", &flat, &Tensor::from_slice(&expected), Tol::F32);
    }
}
