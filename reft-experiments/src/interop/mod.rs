//! Adapters that travel: folders of peft, LLM-Adapters, adapters and pyreft read as ours, ours written as theirs, and adapters
//! merged into their model.

pub mod adapter_hub;
pub mod householder;
pub mod hub;
pub mod merge;
pub mod model_folder;
pub mod names;
pub mod origin;
pub mod ours;
pub mod peft;
mod peft_config;
pub mod peft_export;
mod peft_modules;
pub mod pyreft;
pub mod pyreft_export;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, NamedTensor};
use reft_core::lender::Lender;
use reft_core::positions::Positions;
use reft_core::rng::Seed;
use reft_core::site::Dims;
use serde_json::Value;
use tch::{Device, Tensor, no_grad};

pub use self::origin::AdapterOrigin;
pub use self::peft_modules::ExpectedModules;

/// Tensors by name.
pub type NamedTensors = BTreeMap<String, Tensor>;

/// An adapter of another library in our terms.
#[derive(Debug)]
pub struct ImportedAdapter {
    /// What it is.
    pub spec: AdaptSpec,
    /// Its tensors by our names.
    pub tensors: NamedTensors,
    /// What the tensors are called in the folder, by our names, where that is another name.
    pub names: BTreeMap<String, String>,
    /// What else must be there on a model, by the configuration.
    pub expected: Option<ExpectedModules>,
    /// A classification head trained with it, by the names of [`crate::train::head`]; empty where there is none.
    pub head: NamedTensors,
    /// Where it comes from.
    pub origin: AdapterOrigin,
}

/// What a folder does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportSettings {
    /// The tokens that interventions edit.
    pub positions: Option<Positions>,
    /// That a folder of the adapters library, which cannot tell the two apart, holds a DiReFT and no NoReFT.
    pub direft: bool,
}

/// Reads a folder of any library that is known.
///
/// # Errors
/// When the folder is none of these, is damaged, or holds what is not computed here.
pub fn read(folder: &Path, told: ImportSettings) -> Result<ImportedAdapter> {
    let foreign = by_library(folder, told);
    let shown = folder.display().to_string();
    // What is said of a file begins with its path.
    let mut foreign =
        foreign.map_err(|error| if error.to_string().starts_with(&shown) { error } else { error.context(shown) })?;
    foreign.origin = foreign.origin.with_card(folder);
    Ok(foreign)
}

/// The adapter, by the reader of the library whose files are there.
fn by_library(folder: &Path, told: ImportSettings) -> Result<ImportedAdapter> {
    let [pyrefts, others] = ["config.json", "adapter_config.json"].map(|name| folder.join(name).exists());
    match (pyrefts, others) {
        (true, false) => {
            let noted = pyreft_export::positions_of(folder);
            if let (Some(told), Some(noted)) = (&told.positions, &noted)
                && told != noted
            {
                eprintln!("{}: positions.json says {noted}, and {told} is taken", folder.display());
            }
            if told.direft {
                bail!(
                    "this is a folder of pyreft, which says what its interventions are: DiReFT is told of the adapters library's alone"
                );
            }
            let mut found = pyreft::read(folder, told.positions.or(noted))?;
            found.origin.base_model = found.origin.base_model.or_else(|| pyreft_export::base_model_of(folder));
            return Ok(found);
        }
        (_, true) => {}
        (false, false) => bail!(
            "no adapter is there: give a folder with adapter_config.json (peft, LLM-Adapters, adapters), or with config.json and \
             intkey_*.bin (pyreft)"
        ),
    }
    let config = json(&folder.join("adapter_config.json"))?;
    if told.positions.is_some() {
        bail!("positions are told of pyreft's folders alone: this adapter's are what its configuration says");
    }
    if told.direft && config.get("peft_type").is_some() {
        bail!("this is a folder of peft: DiReFT is told of the adapters library's alone");
    }
    match (config.get("peft_type"), config.get("schema"), config.get("config")) {
        (Some(_), _, _) => peft::read(folder, &config),
        (None, Some(_), _) => bail!("it is an adapter of this program already: give its folder as --adapter"),
        (None, None, Some(_)) => adapter_hub::read(folder, &config, told),
        (None, None, None) => bail!(
            "adapter_config.json has neither peft_type (peft) nor config (adapters): give a folder that one of these libraries, \
             LLM-Adapters or pyreft saved"
        ),
    }
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    reft_core::value_reader::json(&text).with_context(|| path.display().to_string())
}

/// The tensors of the first of these files that is there.
pub(crate) fn tensors(folder: &Path, names: &[&str]) -> Result<NamedTensors> {
    let Some(name) = names.iter().find(|name| folder.join(name).exists()) else {
        bail!("none of {} is there: copy the whole folder", names.join(", "));
    };
    Ok(reft_models::weights::read_tensors(&folder.join(name))?)
}

/// The text of a key.
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

/// A whole number that must be there.
pub(crate) fn whole(value: &Value, key: &str) -> Result<i64> {
    value.get(key).and_then(Value::as_i64).with_context(|| format!("`{key}` is missing or no whole number"))
}

/// Refuses settings that other values than these would change results by: null, false, 0 and empty ones pass.
pub(crate) fn refuse(config: &Value, keys: &[&str]) -> Result<()> {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    };
    match keys.iter().find(|key| config.get(**key).is_some_and(|value| !empty(value))) {
        Some(key) => bail!(
            "`{key}` is {}, which is not computed here: merge the adapter into its model by the library that wrote it, and give that \
             model's folder",
            config[*key]
        ),
        None => Ok(()),
    }
}

impl ImportedAdapter {
    /// The adaptation with these tensors, on a model.
    ///
    /// # Errors
    /// When it does not fit the model, or a tensor is missing, of another shape, superfluous or not finite.
    pub fn onto(&self, dims: &Dims, lender: &dyn Lender, device: Device) -> Result<Box<dyn Adaptation>> {
        self.expected.as_ref().map_or(Ok(()), |expected| expected.check(dims))?;
        let adaptation = self.spec.build_on(dims, lender, Seed(0), device)?;
        let (named, fixed) = (adaptation.named(), adaptation.fixed());
        let known = |name: &String| named.iter().chain(&fixed).any(|named| named.name == *name);
        if let Some(extra) = self.tensors.keys().find(|name| !known(name)) {
            bail!(
                "tensor `{}` has no place in {} on this model: give the base model that it was trained on, or copy the whole folder again",
                self.shown(extra),
                self.spec.key()
            );
        }
        named.iter().try_for_each(|named| self.put(named, true))?;
        // A frozen random pair that the folder does not hold is drawn from its key.
        fixed.iter().try_for_each(|named| self.put(named, false))?;
        Ok(adaptation)
    }

    /// What a tensor is called in the folder.
    fn shown<'n>(&'n self, name: &'n str) -> &'n str {
        self.names.get(name.strip_prefix("lora.").unwrap_or(name)).map_or(name, String::as_str)
    }

    /// What a tensor that is not there would be called, by the name of the same one of another layer.
    fn supposed(&self, name: &str) -> String {
        let parts: Vec<&str> = name.trim_start_matches("lora.").splitn(3, '.').collect();
        let [component, layer, tensor] = parts.as_slice() else { return name.to_owned() };
        let twin = self.names.iter().find_map(|(ours, theirs)| {
            let of: Vec<&str> = ours.splitn(3, '.').collect();
            (of.len() == 3 && of[0] == *component && of[2] == *tensor)
                .then(|| theirs.replacen(&format!(".{}.", of[1]), &format!(".{layer}."), 1))
        });
        twin.unwrap_or_else(|| name.to_owned())
    }

    fn put(&self, NamedTensor { name, tensor }: &NamedTensor, needed: bool) -> Result<()> {
        let Some(found) = self.tensors.get(name) else {
            return if needed {
                bail!("tensor `{}` is missing: copy the whole folder again", self.supposed(name))
            } else {
                Ok(())
            };
        };
        if found.size() != tensor.size() {
            bail!(
                "tensor `{}` has the shape {:?}, this model needs {:?}: give the base model that it was trained on, or copy the whole \
                 folder again",
                self.shown(name),
                found.size(),
                tensor.size()
            );
        }
        if found.isfinite().all().int64_value(&[]) != 1 {
            let name = self.shown(name);
            bail!("tensor `{name}` holds values that are not finite: copy the folder again, or train anew");
        }
        no_grad(|| tensor.shallow_clone().copy_(found));
        Ok(())
    }
}
