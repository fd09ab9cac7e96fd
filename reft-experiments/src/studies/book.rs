//! The book that is memorised, and whose words are answers.

use std::path::Path;

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data;
use crate::data::source::DataSources;

/// The first 2,378 characters of chapter I of *Alice's Adventures in Wonderland* (Lewis Carroll, 1865; public domain), word for
/// word as Project Gutenberg's eBook 11 has it, without marks of stress. The authors' file, an older electronic edition, has
/// `conversation?` for `conversations?` and leaves out `underneath`.
const EXCERPT: &str = include_str!("alice.txt");

/// The whole book as the authors had it.
const BOOK: &str = "memorisation/alice_in_wonderland.txt";
const BOOK_SHA256: &str = "c8f5de222fcf1804197e97b0df02d30d25ab70715fcf93bb8d61c0f7b2c13acb";
/// Characters of it that they used, every newline doubled.
const CHARACTERS: usize = 20_000;

/// Where the book comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Book {
    /// The beginning of its first chapter, which is part of the program.
    #[default]
    Excerpt,
    /// The authors' file, below the data folder.
    Whole,
}

impl Book {
    /// The text that is taken of it.
    ///
    /// # Errors
    /// When the file is not there, or another.
    pub fn text(self, sources: &DataSources) -> Result<String> {
        match self {
            Self::Excerpt => Ok(EXCERPT.to_owned()),
            Self::Whole => {
                let places = || sources.folders().into_iter().map(|folder| folder.join(BOOK));
                let first = || places().next().unwrap_or_else(|| BOOK.into());
                let path = places().find(|path| path.exists()).unwrap_or_else(first);
                let bytes = data::text::bytes(&path).with_context(|| remedy(&path))?;
                let found = format!("{:x}", Sha256::digest(&bytes));
                if found != BOOK_SHA256 {
                    bail!(
                        "{}: SHA-256 {found} is not the authors' file, which has {BOOK_SHA256}: {}",
                        path.display(),
                        remedy(&path)
                    );
                }
                sources.note(BOOK, &path)?;
                let text = String::from_utf8(bytes).context("the book")?;
                Ok(text.replace('\n', "\n\n").chars().take(CHARACTERS).collect())
            }
        }
    }
}

fn remedy(path: &Path) -> String {
    format!(
        "put pyreft's alice_in_wonderland.txt there as {} (REFT_DATA names another data folder), or take book: excerpt",
        path.display()
    )
}
