//! HTTP client of a judge: chat-completion requests, with retries where these may help.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use reft_core::rng::Seed;
use serde_json::Value;
use ureq::{Agent, Proxy};

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::pace::{RateLimiter, RequestInterval};
use super::protocol::{self, Chat, Reply, ServerDialect};
use super::{JudgeEvent, JudgeObserver};
use crate::alpaca_eval::one_line;

/// Bytes of an answer at most: a judge says a word.
const LONGEST: u64 = 1 << 20;

/// How patient a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// For one attempt, from the connection to the last byte.
    pub timeout: Duration,
    /// For one question, at least one.
    pub attempts: u32,
    /// Times between requests.
    pub pace: RequestInterval,
}

/// Asks an endpoint, from any number of threads.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    limits: Limits,
    agent: Agent,
    gate: RateLimiter,
    /// Waits so far: each is shortened by another draw.
    waits: AtomicU64,
    /// What the server was found to take.
    dialect: ServerDialect,
    /// Whether any reply had words.
    spoke: AtomicBool,
}

/// An attempt without a reply.
enum Failure {
    /// It may pass; the server may have said after how many seconds.
    Passing { reason: String, retry_after: Option<u32> },
    /// Another request would be answered.
    Refused(u16, Value),
    /// It will not.
    Final(ClientError),
}

impl Client {
    /// A client of this endpoint.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(limits.timeout))
            .http_status_as_error(false)
            // A question that is sent elsewhere would arrive there without its text or without the key.
            .max_redirects(0)
            .proxy(if endpoint.local() { None } else { Proxy::try_from_env() })
            .build();
        let gate = RateLimiter::new(limits.pace.interval);
        let (waits, dialect, spoke) = (AtomicU64::new(0), ServerDialect::default(), AtomicBool::new(false));
        Self { endpoint, limits, agent: Agent::new_with_config(config), gate, waits, dialect, spoke }
    }

    /// The reply to a question.
    ///
    /// # Errors
    /// When the server refuses for good, or every attempt was in vain.
    pub fn ask(&self, chat: &Chat<'_>, watch: JudgeObserver<'_>) -> Result<String, ClientError> {
        let mut failed = 0;
        loop {
            self.gate.pass();
            let spoken = self.dialect.spoken();
            let (reason, retry_after) = match self.attempt(&spoken.request(chat).to_string()) {
                Ok(reply) => return self.words(reply, chat),
                Err(Failure::Refused(_, answer)) if self.dialect.learn(spoken, &answer) => continue,
                Err(Failure::Refused(status, answer)) => {
                    return Err(self.refusal(self.said(status, &answer), remedy(status)));
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { reason, retry_after }) => (reason, retry_after),
            };
            failed += 1;
            if failed >= self.limits.attempts {
                return Err(ClientError::GaveUp { url: self.endpoint.url().to_owned(), reason, attempts: failed });
            }
            let wait = self.limits.pace.wait(failed, retry_after, self.draw());
            watch(JudgeEvent::Waiting { url: self.endpoint.url(), reason: &reason, wait });
            std::thread::sleep(wait);
        }
    }

    /// What a reply says; empty when the judge said nothing. A judge that never gets to say anything is an error, before
    /// hundreds of questions are paid for.
    fn words(&self, reply: Reply, chat: &Chat<'_>) -> Result<String, ClientError> {
        let spoke = !reply.text.trim().is_empty();
        if spoke {
            self.spoke.store(true, Ordering::Relaxed);
        } else if reply.cut && !self.spoke.load(Ordering::Relaxed) {
            return Err(ClientError::Unfinished { url: self.endpoint.url().to_owned(), max_tokens: chat.max_tokens });
        }
        Ok(reply.text)
    }

    /// Which part of a wait is kept: threads and processes that were refused together should not come back together.
    fn draw(&self) -> f64 {
        let number = self.waits.fetch_add(1, Ordering::Relaxed);
        Seed(u64::from(std::process::id())).stream("wait for a judge", number).random_range(0.5..1.0)
    }

    fn attempt(&self, body: &str) -> Result<Reply, Failure> {
        let request = self.agent.post(self.endpoint.url()).header("Authorization", self.endpoint.authorization());
        let mut response = request.content_type("application/json").send(body).map_err(|error| self.broken(&error))?;
        let status = response.status().as_u16();
        let retry_after: Option<u32> =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.body_mut().with_config().limit(LONGEST).lossy_utf8(true).read_to_string();
        let answer = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        match status {
            200..=299 => {
                let remedy = "check that OPENAI_BASE_URL is the address of an OpenAI-compatible server";
                let reply = protocol::reply(&answer(&text.map_err(|error| self.broken(&error))?));
                reply.ok_or_else(|| self.refused("the answer is no chat completion".to_owned(), remedy))
            }
            408 | 429 | 500..=599 => {
                let answer = answer(&text.unwrap_or_default());
                let reason = self.said(status, &answer);
                if protocol::out_of_money(&answer) {
                    return Err(self.refused(reason, "add credit at the provider, or use another key"));
                }
                Err(Failure::Passing { reason, retry_after })
            }
            _ => Err(Failure::Refused(status, answer(&text.unwrap_or_default()))),
        }
    }

    /// A request without an answer.
    fn broken(&self, error: &ureq::Error) -> Failure {
        use ureq::Error::{ConnectionFailed, HostNotFound, Io, Protocol, Timeout};
        let reason = one_line(&self.endpoint.redact(&error.to_string()), 200);
        match error {
            Timeout(_) | Io(_) | Protocol(_) | HostNotFound | ConnectionFailed => {
                Failure::Passing { reason, retry_after: None }
            }
            _ => self.refused(reason, "check OPENAI_BASE_URL"),
        }
    }

    fn refused(&self, reason: String, remedy: &'static str) -> Failure {
        Failure::Final(self.refusal(reason, remedy))
    }

    fn refusal(&self, reason: String, remedy: &'static str) -> ClientError {
        ClientError::Refused { url: self.endpoint.url().to_owned(), reason, remedy }
    }

    /// A status with the server's own words, if it has any.
    fn said(&self, status: u16, answer: &Value) -> String {
        let words = [&answer["error"]["message"], &answer["error"], &answer["message"]];
        match words.into_iter().find_map(Value::as_str) {
            Some(words) => format!("status {status} ({})", one_line(&self.endpoint.redact(words), 200)),
            None => format!("status {status}"),
        }
    }
}

/// What to do about a status that asking again would not change.
fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "check OPENAI_API_KEY",
        402 => "add credit at the provider, or use another key",
        300..=399 | 404 => "check OPENAI_BASE_URL and the judge's name",
        _ => "check the judge's name, the tokens of a reply and the length of the prompts",
    }
}
