//! Address and API key of a judge's server.

use std::fmt;

use ureq::http::Uri;

use super::error::ClientError;

/// Asked unless `OPENAI_BASE_URL` says otherwise.
const PUBLIC: &str = "https://api.openai.com/v1";

/// Characters of a key that is worth hiding, at least.
const SHORTEST_KEY: usize = 8;

/// A key, which no message shows.
#[derive(Clone, PartialEq, Eq)]
struct ApiKey(String);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

/// An address that answers chat completions as OpenAI's does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    url: String,
    key: ApiKey,
    local: bool,
}

impl Endpoint {
    /// The address in `OPENAI_BASE_URL` with the key in `OPENAI_API_KEY`.
    ///
    /// # Errors
    /// When there is no key, or either cannot be used.
    pub fn from_env() -> Result<Self, ClientError> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let base_url = set("OPENAI_BASE_URL").unwrap_or_else(|| PUBLIC.to_owned());
        let Some(key) = set("OPENAI_API_KEY") else { return Err(ClientError::NoKey { url: base_url }) };
        Self::new(&base_url, &key)
    }

    /// The chat completions below `base_url`, asked for with this key.
    ///
    /// # Errors
    /// When the address is none, or the key cannot stand in a header.
    pub fn new(base_url: &str, key: &str) -> Result<Self, ClientError> {
        let (address, key) = (base_url.trim().trim_end_matches('/'), key.trim());
        let uri = address.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        let Some(host) = uri.as_ref().and_then(Uri::host).filter(|host| !host.is_empty()) else {
            return Err(ClientError::NoAddress { url: base_url.trim().to_owned() });
        };
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::BadKey);
        }
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        Ok(Self { url: format!("{address}/chat/completions"), key: ApiKey(key.to_owned()), local })
    }

    /// The whole address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether this machine answers, to which no proxy leads.
    pub(super) fn local(&self) -> bool {
        self.local
    }

    /// The header that lets us in.
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.key.0)
    }

    /// A text without the key: servers quote what they were sent. A word of a few letters, given where a server needs no key,
    /// is no secret, and stands in other words too.
    pub(super) fn redact(&self, text: &str) -> String {
        if self.key.0.len() < SHORTEST_KEY { text.to_owned() } else { text.replace(&self.key.0, "[key]") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_and_checked() {
        let url = |base: &str| Endpoint::new(base, "k").map(|endpoint| endpoint.url).map_err(|error| error.to_string());
        assert_eq!(url(PUBLIC).as_deref(), Ok("https://api.openai.com/v1/chat/completions"));
        assert_eq!(url(" http://localhost:8000/v1/ ").as_deref(), Ok("http://localhost:8000/v1/chat/completions"));
        for base in ["localhost:8000", "ftp://host/v1", "api.openai.com/v1", "http://", "https://a b/v1"] {
            let error = url(base).expect_err(base);
            assert!(error.starts_with(&format!("OPENAI_BASE_URL: `{base}` is no web address: ")), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let endpoint = Endpoint::new(PUBLIC, " sk-secret\n").expect("valid");
        assert_eq!(endpoint.authorization(), "Bearer sk-secret");
        assert!(!format!("{endpoint:?}").contains("secret"), "{endpoint:?}");
        assert_eq!(endpoint.redact("no such key: sk-secret"), "no such key: [key]");
        let any_word = Endpoint::new(PUBLIC, "x").expect("valid");
        assert_eq!(any_word.redact("exceeded: see the text"), "exceeded: see the text");
        let error = Endpoint::new(PUBLIC, "sk-sec\nret").expect_err("a line break").to_string();
        assert!(error.starts_with("OPENAI_API_KEY: ") && !error.contains("sec"), "{error}");
    }
}
