//! A model's context length against what is given to it. What is longer is refused before the model sees it; where only an
//! answer could grow beyond it, that is said.

/// How many tokens a model reads, and how many of them trained keys and values take before any sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The context length.
    pub tokens: usize,
    /// Virtual tokens of prefix-tuning.
    pub virtual_tokens: usize,
}

impl Context {
    /// What is left for a sequence.
    pub fn room(self) -> usize {
        self.tokens.saturating_sub(self.virtual_tokens)
    }
}

impl From<usize> for Context {
    fn from(tokens: usize) -> Self {
        Self { tokens, virtual_tokens: 0 }
    }
}

/// A sequence that the model was not made for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}: {tokens} tokens{beside} are more than the {} that the model reads (its context length): {remedy}", context.tokens)]
pub struct BeyondContext {
    what: String,
    tokens: usize,
    beside: String,
    context: Context,
    remedy: String,
}

/// Refuses a prompt that is longer than the context.
///
/// # Errors
/// When it is.
pub fn check_prompt(what: &str, tokens: usize, context: impl Into<Context>) -> Result<(), BeyondContext> {
    let remedy = |_| "shorten it, or take a model with a longer context".to_owned();
    check(what, tokens, context.into(), remedy)
}

/// Refuses a row of a data set, cut to `data.max_length` already, that is longer than the context.
///
/// # Errors
/// When it is.
pub fn check_row(what: &str, tokens: usize, context: impl Into<Context>) -> Result<(), BeyondContext> {
    let context = context.into();
    let remedy = |room| match (room, context.virtual_tokens) {
        (0, _) => "train fewer virtual tokens, or take a model with a longer context".to_owned(),
        (room, 0) => format!("set data.max_length to {room} or less, or take a model with a longer context"),
        (room, _) => format!(
            "train fewer virtual tokens, set data.max_length to {room} or less, or take a model with a longer context"
        ),
    };
    check(what, tokens, context, remedy)
}

fn check(what: &str, tokens: usize, context: Context, remedy: impl Fn(usize) -> String) -> Result<(), BeyondContext> {
    let room = context.room();
    if tokens <= room {
        return Ok(());
    }
    let beside = match context.virtual_tokens {
        0 => String::new(),
        virtual_tokens => format!(" after {virtual_tokens} virtual ones of the prefix"),
    };
    Err(BeyondContext { what: what.to_owned(), tokens, beside, context, remedy: remedy(room) })
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
    pub context: Context,
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
        for (index, &tokens) in lengths.iter().enumerate().filter(|(_, tokens)| **tokens > self.context.room()) {
            match self.remedy {
                Remedy::Shorten => check_prompt(&name(index), tokens, self.context)?,
                Remedy::MaxLength => check_row(&name(index), tokens, self.context)?,
            }
        }
        if let Some(beyond) = answers_beyond(lengths, self.max_new, self.context.room()) {
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
        let prefixed = |virtual_tokens| Context { tokens: 64, virtual_tokens };
        assert_eq!(check_row("boolq row 3", 60, prefixed(4)), Ok(()));
        for (virtual_tokens, remedy) in [(5, "data.max_length to 59 or less"), (64, "fewer virtual tokens")] {
            let said = check_row("boolq row 3", 60, prefixed(virtual_tokens)).expect_err("too long").to_string();
            let beside = format!("60 tokens after {virtual_tokens} virtual ones of the prefix are more than the 64");
            assert!(said.contains(&beside) && said.contains(remedy), "{said}");
        }
    }

    #[test]
    fn answers_are_counted_that_could_run_past_the_context() {
        assert_eq!(answers_beyond(&[10, 54, 0], 10, 64), None);
        let said = answers_beyond(&[10, 55, 64], 10, 64).expect("two could");
        assert!(said.starts_with("2 of 3 prompts") && said.contains("64 tokens"), "{said}");
        assert!(answers_beyond(&[1], usize::MAX, 64).is_some());
    }
}
