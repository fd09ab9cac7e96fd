//! `search:` of a sweep's file: how its space is searched.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a space is searched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchMethod {
    /// These points and no others, as keys with values: the runs of a study.
    Listed(Vec<Map<String, Value>>),
    /// Every point.
    Grid,
    /// Points drawn by chance, none twice.
    Random,
    /// Tree-structured Parzen estimator (Bergstra et al., 2011): points like the good ones so far and unlike the rest.
    Tpe(Tpe),
}

/// Settings of the search.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tpe {
    /// Trials by chance before the first that is not.
    pub startup: usize,
    /// Trials that are proposed together and may run at once. They are known only when all of those before have ended, so
    /// that the points do not depend on which worker was faster.
    pub batch: usize,
}

impl Default for Tpe {
    fn default() -> Self {
        Self { startup: 10, batch: 4 }
    }
}
