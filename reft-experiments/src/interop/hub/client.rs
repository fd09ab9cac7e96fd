//! Requests to the hub.

use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::AdapterHubError;

/// Bytes of a file at most: an adapter with all weights of a large model.
const LARGEST: u64 = 1 << 37;

/// A client of one hub, authenticated where there is a token.
pub struct HubClient {
    endpoint: String,
    token: Option<String>,
    agent: Agent,
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubClient").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl HubClient {
    pub fn new(endpoint: String, token: Option<String>) -> Self {
        // No limit for whole requests: files may be large.
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_mins(2)))
            .http_status_as_error(false);
        Self { endpoint, token, agent: Agent::new_with_config(config.build()) }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// A file below the hub's address.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, AdapterHubError> {
        let what = format!("{}{path}", self.endpoint);
        let mut request = self.agent.get(&what);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut response = self.checked(&what, request.call())?;
        let body = response.body_mut().with_config().limit(LARGEST).read_to_vec();
        body.map_err(|error| self.broken(&what, &error))
    }

    /// A JSON answer below the hub's address.
    pub fn get_json(&self, path: &str) -> Result<Value, AdapterHubError> {
        let bytes = self.get(path)?;
        self.json(&format!("{}{path}", self.endpoint), &bytes)
    }

    /// Posts a body and reads a JSON answer; `known` is a status that is as good as success, with null for an answer.
    pub fn post(&self, path: &str, kind: &str, body: &[u8], known: Option<u16>) -> Result<Value, AdapterHubError> {
        let what = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.endpoint) };
        let mut request = self.agent.post(&what).header("Accept", kind).content_type(kind);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request.send(body);
        if answer.as_ref().is_ok_and(|answer| Some(answer.status().as_u16()) == known) {
            return Ok(Value::Null);
        }
        let mut response = self.checked(&what, answer)?;
        let bytes = response.body_mut().read_to_vec().map_err(|error| self.broken(&what, &error))?;
        if bytes.is_empty() { Ok(Value::Null) } else { self.json(&what, &bytes) }
    }

    /// Puts a file where the hub said, with the headers that it said: the token is not for that address.
    pub fn put(&self, address: &str, headers: &[(String, String)], body: &[u8]) -> Result<(), AdapterHubError> {
        let request =
            headers.iter().fold(self.agent.put(address), |request, (name, value)| request.header(name, value));
        self.checked(address.split('?').next().unwrap_or(address), request.send(body)).map(|_| ())
    }

    fn json(&self, what: &str, bytes: &[u8]) -> Result<Value, AdapterHubError> {
        serde_json::from_slice(bytes).map_err(|_| self.refused(what, "the answer is no JSON", "check HF_ENDPOINT"))
    }

    /// The answer, where its status is a good one.
    fn checked(
        &self,
        what: &str,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, AdapterHubError> {
        let mut response = answer.map_err(|error| self.broken(what, &error))?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let text =
            response.body_mut().with_config().limit(1 << 16).lossy_utf8(true).read_to_string().unwrap_or_default();
        let said = serde_json::from_str::<Value>(&text).unwrap_or_default();
        let words = [&said["error"], &said["message"]].into_iter().find_map(Value::as_str).unwrap_or_default();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let reason = if words.is_empty() { format!("status {status}") } else { format!("status {status} ({words})") };
        let remedy = match status {
            401 => "check the name and HF_TOKEN (the hub answers so for repositories that are not there, too)",
            403 => "HF_TOKEN may not do this: take one that may write there",
            404 => "check the name and the revision",
            _ => "try again later",
        };
        Err(self.refused(what, &reason, remedy))
    }

    fn broken(&self, what: &str, error: &ureq::Error) -> AdapterHubError {
        let reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        self.refused(what, &reason, "check the network and HF_ENDPOINT")
    }

    fn refused(&self, what: &str, reason: &str, remedy: &'static str) -> AdapterHubError {
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        let reason = token.map_or_else(|| reason.to_owned(), |token| reason.replace(token, "[token]"));
        AdapterHubError::Refused { what: what.to_owned(), reason, remedy }
    }
}
