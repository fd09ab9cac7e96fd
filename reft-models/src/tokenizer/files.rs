//! What the files beside `tokenizer.json` say: special tokens, end tokens, chat templates, switches of the tokenizer's class.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::AddedToken;

use super::TokenizerError;
use super::class::TokenizerClass;
use super::template::{DEFAULT, Templates};

/// One of the JSON files; null where it does not exist.
struct Json {
    path: PathBuf,
    value: Value,
}

/// The JSON files of a model's folder.
pub(super) struct Files {
    folder: PathBuf,
    tokenizer: Json,
    specials: Json,
    added: Json,
    generation: Json,
    model: Json,
    chat: Json,
}

/// Whether begin and end tokens are put around a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AddedEnds {
    pub bos: bool,
    pub eos: bool,
    /// Whether a file asks for it by name, and not the class by its default.
    pub asked: bool,
}

impl Files {
    pub(super) fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let json = |name: &str| Json::read(folder.join(name));
        Ok(Self {
            folder: folder.to_owned(),
            tokenizer: json("tokenizer_config.json")?,
            specials: json("special_tokens_map.json")?,
            added: json("added_tokens.json")?,
            generation: json("generation_config.json")?,
            model: json("config.json")?,
            chat: json("chat_template.json")?,
        })
    }

    /// Ids of `bos_token_id` or `eos_token_id`: of `generation_config.json` where there is one, else of `config.json`. Where that
    /// is silent, Llama's configuration has the ids 1 and 2.
    pub(super) fn ids(&self, key: &str) -> Result<Vec<i64>, TokenizerError> {
        if !self.generation.value.is_null() {
            return self.generation.ids(key);
        }
        let silent = self.model.value.get(key).is_none() && self.model.text("model_type")? == Some("llama");
        match key {
            "bos_token_id" if silent => Ok(vec![1]),
            "eos_token_id" if silent => Ok(vec![2]),
            _ => self.model.ids(key),
        }
    }

    /// What Llama's tokenizer class (and those derived from it) puts around a text, whatever `tokenizer.json` says; none
    /// where the class leaves it to `tokenizer.json`.
    /// `built` says that there is no `tokenizer.json` to leave it to.
    pub(super) fn added_ends(&self, built: bool) -> Result<Option<AddedEnds>, TokenizerError> {
        let (bos, eos) = (self.tokenizer.switch("add_bos_token")?, self.tokenizer.switch("add_eos_token")?);
        let asked = bos.is_some() || eos.is_some();
        let decides = if let Some(class) = self.class()? {
            ["LlamaTokenizer", "LLaMATokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"]
                .contains(&class.trim_end_matches("Fast"))
        } else {
            // Without a class the model's type decides; a switch that is not set changes nothing then.
            let types = ["llama", "code_llama", "mistral", "mixtral", "gemma", "gemma2", "cohere"];
            (asked || built) && self.model_type()?.is_some_and(|kind| types.contains(&kind))
        };
        let added = AddedEnds { bos: bos.unwrap_or(true), eos: eos.unwrap_or(false), asked };
        Ok(decides.then_some(added))
    }

    /// A file of the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether the folder has such a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The tokenizer's class as the files name it.
    pub(super) fn class(&self) -> Result<Option<&str>, TokenizerError> {
        Ok(self.tokenizer.text("tokenizer_class")?.or(self.model.text("tokenizer_class")?))
    }

    /// The model's kind.
    pub(super) fn model_type(&self) -> Result<Option<&str>, TokenizerError> {
        self.model.text("model_type")
    }

    /// The class whose rules hold, by `tokenizer_class`, else by the model's `model_type`; none for any other.
    pub(super) fn tokenizer_class(&self) -> Result<Option<TokenizerClass>, TokenizerError> {
        match self.class()? {
            Some(class) => Ok(TokenizerClass::of_tokenizer(class)),
            None => Ok(self.model_type()?.and_then(TokenizerClass::of_model)),
        }
    }

    /// A switch of `tokenizer_config.json`.
    pub(super) fn switch(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        self.tokenizer.switch(key)
    }

    /// A whole number of `tokenizer_config.json`.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, TokenizerError> {
        let Some(entry) = self.tokenizer.entry(key) else { return Ok(None) };
        let number = entry.as_u64().filter(|&number| number <= 1 << 20);
        number.map(Some).ok_or_else(|| self.tokenizer.refuse(key, "a number of tokens"))
    }

    /// A special token as the tokenizer's own files describe it, else as its class has it. `special` in any case.
    pub(super) fn named(
        &self,
        name: &str,
        class: Option<TokenizerClass>,
    ) -> Result<Option<AddedToken>, TokenizerError> {
        let files = [&self.tokenizer, &self.specials];
        for file in files {
            if file.token(name)?.is_some() {
                return Ok(file.entry(name).and_then(described));
            }
        }
        // Null or an empty text: it has none.
        let silent = files.iter().all(|file| file.value.get(name).is_none());
        let usual =
            class.filter(|_| silent).and_then(|class| class.specials().iter().find(|(usual, _)| *usual == name));
        Ok(usual.map(|(_, token)| AddedToken::from(*token, true)))
    }

    /// Whether the files name the begin token by an empty text, as the first conversions of LLaMA do.
    pub(super) fn nameless(&self) -> bool {
        self.tokenizer.value.get("bos_token").and_then(Value::as_str) == Some("")
    }

    /// Whether decoded texts lose spaces before punctuation; where no file says it, what the tokenizer's class does.
    pub(super) fn cleans(&self, usual: bool) -> Result<bool, TokenizerError> {
        Ok(self.switch("clean_up_tokenization_spaces")?.unwrap_or(usual))
    }

    /// `additional_special_tokens`.
    pub(super) fn further(&self) -> Vec<AddedToken> {
        let lists = [&self.tokenizer, &self.specials].map(|file| file.value.get("additional_special_tokens"));
        lists.into_iter().flatten().filter_map(Value::as_array).flatten().filter_map(described).collect()
    }

    /// `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`, where `tokenizer_config.json` has them, by their
    /// names in BERT's normaliser.
    pub(super) fn bert_switches(&self) -> Result<Vec<(&'static str, bool)>, TokenizerError> {
        let names = [
            ("do_lower_case", "lowercase"),
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ];
        let mut switches = Vec::new();
        for (key, name) in names {
            switches.extend(self.tokenizer.switch(key)?.map(|on| (name, on)));
        }
        Ok(switches)
    }

    /// Tokens of `added_tokens_decoder` and `added_tokens.json`, which `tokenizer.json` need not have, by id.
    pub(super) fn added_tokens(&self) -> Result<BTreeMap<u32, AddedToken>, TokenizerError> {
        let mut added = BTreeMap::new();
        for (token, id) in self.added.value.as_object().into_iter().flatten() {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| self.added.refuse(token, "a token id"))?;
            let special = self.is_special(token);
            added.insert(id, AddedToken::from(token.clone(), special).normalized(!special));
        }
        let key = "added_tokens_decoder";
        let Some(entry) = self.tokenizer.entry(key) else { return Ok(added) };
        let refuse = || self.tokenizer.refuse(key, "a list of tokens by id");
        for (id, token) in entry.as_object().ok_or_else(refuse)? {
            let token = serde_json::from_value::<AddedToken>(token.clone()).map_err(|_| refuse())?;
            added.insert(id.parse().map_err(|_| refuse())?, token);
        }
        Ok(added)
    }

    /// Whether the tokenizer's own files name a token as a special one.
    fn is_special(&self, token: &str) -> bool {
        let names = |entry: &Value| entry.as_str().or_else(|| entry.get("content")?.as_str()) == Some(token);
        [&self.tokenizer, &self.specials].into_iter().any(|file| {
            let entries = file.value.as_object().into_iter().flatten().filter(|(key, _)| key.ends_with("_token"));
            let further = file.value.get("additional_special_tokens").and_then(Value::as_array).into_iter().flatten();
            entries.map(|(_, entry)| entry).chain(further).any(names)
        })
    }

    /// The entry of `tokenizer_config.json` (a text, or a list of named ones); where there is none, `chat_template.jinja` or
    /// `chat_template.json`, and `additional_chat_templates/NAME.jinja`.
    pub(super) fn templates(&self) -> Result<Templates, TokenizerError> {
        if let Some(templates) = self.tokenizer.templates()? {
            return Ok(templates);
        }
        let mut named = BTreeMap::new();
        for path in listed(&self.folder.join("additional_chat_templates"))? {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            named.insert(name, read_text(&path)?.unwrap_or_default());
        }
        let source = match read_text(&self.folder.join("chat_template.jinja"))? {
            Some(source) => Some(source),
            None => self.chat.text("chat_template")?.map(str::to_owned),
        };
        named.extend(source.map(|source| (DEFAULT.to_owned(), source)));
        Ok(Templates::files(named))
    }
}

impl Json {
    fn read(path: PathBuf) -> Result<Self, TokenizerError> {
        let Some(text) = read_text(&path)? else { return Ok(Self { path, value: Value::Null }) };
        let value = parse(&path, &text)?;
        if !value.is_object() {
            return Err(wrong(&path, "not a JSON object: copy it again"));
        }
        Ok(Self { path, value })
    }

    fn entry(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|entry| !entry.is_null())
    }

    fn refuse(&self, key: &str, expected: &str) -> TokenizerError {
        wrong(&self.path, format!("`{key}` is not {expected}: correct it, or copy the file again"))
    }

    fn text(&self, key: &str) -> Result<Option<&str>, TokenizerError> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        entry.as_str().map(Some).ok_or_else(|| self.refuse(key, "a text"))
    }

    fn switch(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        entry.as_bool().map(Some).ok_or_else(|| self.refuse(key, "true or false"))
    }

    /// A token: a text, or an object that describes it. An empty text is none.
    fn token(&self, key: &str) -> Result<Option<&str>, TokenizerError> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let text = entry.as_str().or_else(|| entry.get("content")?.as_str());
        let text = text.ok_or_else(|| self.refuse(key, "a token's text"))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// A token id, or a list of them.
    fn ids(&self, key: &str) -> Result<Vec<i64>, TokenizerError> {
        let Some(entry) = self.entry(key) else { return Ok(Vec::new()) };
        let refuse = || self.refuse(key, "a token id or a list of token ids");
        let id = |entry: &Value| entry.as_i64().filter(|id| *id >= 0);
        // Negative ids stand for "none" in some files.
        if entry.as_i64().is_some_and(|id| id < 0) {
            return Ok(Vec::new());
        }
        match entry.as_array() {
            Some(list) => list.iter().map(|entry| id(entry).ok_or_else(refuse)).collect(),
            None => Ok(vec![id(entry).ok_or_else(refuse)?]),
        }
    }

    /// The entry `chat_template`.
    fn templates(&self) -> Result<Option<Templates>, TokenizerError> {
        let key = "chat_template";
        let Some(entry) = self.entry(key) else { return Ok(None) };
        if let Some(source) = entry.as_str() {
            return Ok(Some(Templates::files(BTreeMap::from([(DEFAULT.to_owned(), source.to_owned())]))));
        }
        let named = |entry: &Value| {
            let (name, source) = (entry.get("name")?.as_str()?, entry.get("template")?.as_str()?);
            Some((name.to_owned(), source.to_owned()))
        };
        let list = entry.as_array().and_then(|list| list.iter().map(named).collect::<Option<BTreeMap<_, _>>>());
        let refuse = || self.refuse(key, "a template or a list of templates with `name` and `template`");
        list.map(|named| Some(Templates::listed(named))).ok_or_else(refuse)
    }
}

/// A special token as a file writes it: a text, or an object that describes it.
fn described(entry: &Value) -> Option<AddedToken> {
    let text = entry.as_str().or_else(|| entry.get("content")?.as_str())?;
    let mut token = AddedToken::from(text, true);
    for (key, flag) in [
        ("normalized", &mut token.normalized),
        ("lstrip", &mut token.lstrip),
        ("rstrip", &mut token.rstrip),
        ("single_word", &mut token.single_word),
    ] {
        *flag = entry.get(key).and_then(Value::as_bool).unwrap_or(*flag);
    }
    Some(token)
}

pub(super) fn wrong(path: &Path, reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Open { path: path.to_owned(), reason: reason.into() }
}

/// The `.jinja` files of a folder, by name; none where there is no folder.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, TokenizerError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(folder, format!("{error}: make it readable"))),
    };
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| wrong(folder, format!("{error}: make it readable")))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jinja"));
    paths.sort();
    Ok(paths)
}

/// A file's text; none where there is no such file.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, TokenizerError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(path, format!("{error}: make it readable"))),
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong(path, "not UTF-8: save it as UTF-8, or copy it again"))?;
    Ok(Some(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text)))
}

/// A text as JSON.
pub(super) fn parse(path: &Path, text: &str) -> Result<Value, TokenizerError> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        wrong(path, format!("not valid JSON at line {line}, column {column}: copy it again"))
    })
}

/// The whole text of a file that must exist.
pub(super) fn required(path: &Path, remedy: &str) -> Result<String, TokenizerError> {
    read_text(path)?.ok_or_else(|| wrong(path, format!("there is no such file: {remedy}")))
}
