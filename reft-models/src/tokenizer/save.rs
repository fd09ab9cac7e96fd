//! A tokenizer written as the files of a Hugging Face folder.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Tokenizer, TokenizerError};

impl Tokenizer {
    /// Writes `tokenizer.json`, `tokenizer_config.json` (special tokens, chat templates) and `generation_config.json` (end tokens) into
    /// a folder, for transformers: how a vocabulary inside a `.gguf` file becomes one that other programs read.
    ///
    /// # Errors
    /// When no `tokenizer.json` can say what it does (transformers' slow tokenizers), or a file cannot be written.
    pub fn save_folder(&self, folder: &Path) -> Result<(), TokenizerError> {
        let failed = |path: &Path, reason: String| TokenizerError::Open { path: path.to_owned(), reason };
        let path = folder.join("tokenizer.json");
        if self.slow.is_some() {
            let reason =
                "a slow tokenizer cannot be written as tokenizer.json: copy the files of the model's own folder";
            return Err(failed(&path, reason.to_owned()));
        }
        self.inner.save(&path, false).map_err(|error| failed(&path, error.to_string()))?;
        for (name, value) in [("tokenizer_config.json", self.settings()), ("generation_config.json", self.generation())]
        {
            let path = folder.join(name);
            fs::write(&path, format!("{value:#}\n")).map_err(|error| failed(&path, error.to_string()))?;
        }
        Ok(())
    }

    fn settings(&self) -> Value {
        let mut settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            // No decoder reads token types, and the class gives them unasked.
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": self.clean,
        });
        for (name, token) in &self.specials {
            settings[*name] = json!(token);
        }
        if let Some(templates) = self.templates.as_json() {
            settings["chat_template"] = templates;
        }
        settings
    }

    fn generation(&self) -> Value {
        json!({ "bos_token_id": self.bos, "eos_token_id": self.ends })
    }
}
