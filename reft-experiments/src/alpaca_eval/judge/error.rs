//! Why a judge could not be asked.

/// A judge that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No key.
    #[error(
        "OPENAI_API_KEY is not set: set it to your key for {url}, or to any word where none is needed \
         (OPENAI_BASE_URL is the address of another server)"
    )]
    NoKey {
        /// The address.
        url: String,
    },
    /// A key with a space or a line break within.
    #[error("OPENAI_API_KEY: it holds characters that no key has: copy it again")]
    BadKey,
    /// No address.
    #[error("OPENAI_BASE_URL: `{url}` is no web address: write it like https://api.openai.com/v1")]
    NoAddress {
        /// What was given.
        url: String,
    },
    /// The judge spent all tokens of its reply on thinking.
    #[error(
        "{url}: the judge used all {max_tokens} tokens of its reply before it said anything: allow more, such as {enough} \
         for a judge that thinks first", enough = .max_tokens.saturating_mul(4).max(4096)
    )]
    Unfinished {
        /// The address.
        url: String,
        /// What it was allowed.
        max_tokens: u32,
    },
    /// Asking again would not help.
    #[error("{url}: {reason}: {remedy}")]
    Refused {
        /// The address.
        url: String,
        /// What the server said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Asking again did not help.
    #[error(
        "{url}: {reason}, in the last of {attempts} attempts: run the command again later (what is judged is kept), \
         with fewer requests a minute or a longer time-out"
    )]
    GaveUp {
        /// The address.
        url: String,
        /// What happened last.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
}
