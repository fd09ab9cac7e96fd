//! Every family of models that is read here, for lists and for tests that cover all of them.

use serde_json::Value;

use crate::decoder::FAMILIES;
use crate::encoder;
use crate::gguf;

/// What a family's models are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FamilyKind {
    /// They continue texts: see [`crate::registry::load`].
    Decoder,
    /// They read whole texts: see [`crate::encoder::Encoder::load`].
    Encoder,
}

/// A family of models.
#[derive(Clone, Debug)]
pub struct ModelFamily {
    /// As `model_type` names it.
    pub key: &'static str,
    /// As `architectures` names it; of an encoder the beginning, before `Model` and `For...`.
    pub architecture: &'static str,
    /// As GGUF files name it; none where it is not read from those.
    pub gguf: Option<&'static str>,
    /// What its models are for.
    pub kind: FamilyKind,
    /// Models of it.
    pub title: &'static str,
    /// What is read, and what is left out and why, in a line.
    pub about: &'static str,
    /// A configuration of a few thousand parameters, as `config.json` writes it.
    pub example: Value,
}

/// All of them: decoders, then encoders.
pub fn families() -> Vec<ModelFamily> {
    let decoders = FAMILIES.iter().map(|port| ModelFamily {
        key: port.model_type,
        architecture: port.architecture,
        gguf: gguf::architecture_of(port.architecture),
        kind: FamilyKind::Decoder,
        title: port.title,
        about: port.about,
        example: (port.example)(),
    });
    let encoders = encoder::EncoderFamily::ALL.into_iter().map(|family| ModelFamily {
        key: family.name(),
        architecture: family.class(),
        gguf: None,
        kind: FamilyKind::Encoder,
        title: family.title(),
        about: family.about(),
        example: family.example(),
    });
    decoders.chain(encoders).collect()
}
