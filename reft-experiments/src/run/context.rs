//! A model's context length against what is given to it. What is longer is refused before the model sees it; where only an
//! answer could grow beyond it, that is said.

/// A sequence that the model was not made for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}: {tokens} tokens are more than the {context} that the model reads (its context length): {remedy}")]
pub struct BeyondContext {
    what: String,
    tokens: usize,
    context: usize,
    remedy: String,
}

/// Refuses a prompt that is longer than the context.
///
/// # Errors
/// When it is.
pub fn check_prompt(what: &str, tokens: usize, context: usize) -> Result<(), BeyondContext> {
    let remedy = || "shorten it, or take a model with a longer context".to_owned();
    check(what, tokens, context, remedy)
}

/// Refuses a row of a data set, cut to `data.max_length` already, that is longer than the context.
///
/// # Errors
/// When it is.
pub fn check_row(what: &str, tokens: usize, context: usize) -> Result<(), BeyondContext> {
    let remedy = || format!("set data.max_length to {context} or less, or take a model with a longer context");
    check(what, tokens, context, remedy)
}

fn check(what: &str, tokens: usize, context: usize, remedy: impl Fn() -> String) -> Result<(), BeyondContext> {
    if tokens <= context {
        return Ok(());
    }
    Err(BeyondContext { what: what.to_owned(), tokens, context, remedy: remedy() })
}

/// What to do about a prompt that is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// It was given by hand: shorten it.
    Shorten,
    /// It is a row, cut to `data.max_length` already: lower that.
    MaxLength,
}

/// A model's context and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct ContextRequest {
    /// Tokens that the model reads.
    pub context: usize,
    /// New tokens of an answer at most.
    pub max_new: usize,
    /// What to do about a prompt that is too long.
    pub remedy: Remedy,
}

impl ContextRequest {
    /// Refuses prompts that are longer than the context, each by its name, and says how many answers of `what` could be.
    ///
    /// # Errors
    /// When a prompt is.
    pub fn check(&self, what: &str, lengths: &[usize], name: impl Fn(usize) -> String) -> Result<(), BeyondContext> {
        for (index, &tokens) in lengths.iter().enumerate().filter(|(_, tokens)| **tokens > self.context) {
            match self.remedy {
                Remedy::Shorten => check_prompt(&name(index), tokens, self.context)?,
                Remedy::MaxLength => check_row(&name(index), tokens, self.context)?,
            }
        }
        if let Some(beyond) = answers_beyond(lengths, self.max_new, self.context) {
            eprintln!("{what}: {beyond}");
        }
        Ok(())
    }
}

/// A line about the prompts of these lengths whose answers could grow beyond the context; none if no answer can.
fn answers_beyond(prompts: &[usize], max_new: usize, context: usize) -> Option<String> {
    let beyond = prompts.iter().filter(|&&tokens| tokens.saturating_add(max_new) > context).count();
    (beyond > 0).then(|| {
        format!(
            "{beyond} of {} prompts could be answered beyond the model's context of {context} tokens (prompt and {max_new} \
             new ones together), where it was not trained: allow fewer new tokens, or shorten the prompts",
            prompts.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_token_of_the_context_is_inside() {
        assert_eq!(check_prompt("the prompt", 64, 64), Ok(()));
        let said = check_prompt("the prompt", 65, 64).expect_err("too long").to_string();
        assert!(said.starts_with("the prompt: 65 tokens are more than the 64 that the model reads"), "{said}");
        let said = check_row("boolq row 3", 65, 64).expect_err("too long").to_string();
        assert!(said.starts_with("boolq row 3: ") && said.contains("data.max_length to 64 or less"), "{said}");
    }

    #[test]
    fn answers_are_counted_that_could_run_past_the_context() {
        assert_eq!(answers_beyond(&[10, 54, 0], 10, 64), None);
        let said = answers_beyond(&[10, 55, 64], 10, 64).expect("two could");
        assert!(said.starts_with("2 of 3 prompts") && said.contains("64 tokens"), "{said}");
        assert!(answers_beyond(&[1], usize::MAX, 64).is_some());
    }
}
