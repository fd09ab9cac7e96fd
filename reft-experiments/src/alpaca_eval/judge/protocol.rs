//! Chat completions as servers differ about them: which parameters a model takes, and where its words are.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a> {
    /// Who is asked.
    pub model: &'a str,
    /// What is asked.
    pub prompt: &'a str,
    /// Length of the reply at most.
    pub max_tokens: u32,
}

/// What the models of a server take, learned from their refusals: newer ones count a reply's tokens under another name and
/// choose their temperature themselves.
#[derive(Debug, Default)]
pub(super) struct ServerDialect {
    completion_tokens: AtomicBool,
    no_temperature: AtomicBool,
}

/// The parameters of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestParameters {
    completion_tokens: bool,
    no_temperature: bool,
}

impl ServerDialect {
    /// What is known now.
    pub(super) fn spoken(&self) -> RequestParameters {
        RequestParameters {
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
            no_temperature: self.no_temperature.load(Ordering::Relaxed),
        }
    }

    /// Learns from a refusal of a request that was spoken so; false when there is nothing to change.
    pub(super) fn learn(&self, spoken: RequestParameters, answer: &Value) -> bool {
        let error = &answer["error"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        let (parameter, message) =
            (text(&error["param"]), text(&error["message"]) + &text(&answer["message"]) + &text(error));
        let about = |name: &str| {
            parameter == name || (parameter.is_empty() && message.contains(name) && message.contains("support"))
        };
        if !spoken.completion_tokens && (about("max_tokens") || message.contains("max_completion_tokens")) {
            self.completion_tokens.store(true, Ordering::Relaxed);
            return true;
        }
        if !spoken.no_temperature && about("temperature") {
            self.no_temperature.store(true, Ordering::Relaxed);
            return true;
        }
        false
    }
}

impl RequestParameters {
    /// A question as it is sent.
    pub(super) fn request(self, chat: &Chat<'_>) -> Value {
        let mut body = json!({"model": chat.model, "messages": [{"role": "user", "content": chat.prompt}]});
        if !self.no_temperature {
            body["temperature"] = json!(0);
        }
        body[if self.completion_tokens { "max_completion_tokens" } else { "max_tokens" }] = json!(chat.max_tokens);
        body
    }
}

/// A judge's reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    /// What it says; what it thought aside if the server tells the two apart.
    pub text: String,
    /// Whether it ended because its tokens were used up.
    pub cut: bool,
}

/// The reply in a server's answer; none when it is no chat completion.
pub(super) fn reply(answer: &Value) -> Option<Reply> {
    let choice = answer["choices"].get(0)?;
    let message = choice.get("message")?.as_object()?;
    let text = match message.get("content") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        Some(_) => return None,
    };
    Some(Reply { text, cut: choice["finish_reason"] == "length" })
}

/// Whether the account is used up, which no wait changes. Servers say so with the status of a rate limit.
pub(super) fn out_of_money(answer: &Value) -> bool {
    const CODES: [&str; 4] =
        ["insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"];
    let error = &answer["error"];
    [&error["code"], &error["type"]].into_iter().filter_map(Value::as_str).any(|code| CODES.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(answers: &[Value]) -> (Vec<bool>, RequestParameters) {
        let dialect = ServerDialect::default();
        let learned = answers.iter().map(|answer| dialect.learn(dialect.spoken(), answer)).collect();
        (learned, dialect.spoken())
    }

    #[test]
    fn refusals_teach_which_parameters_a_model_takes() {
        let error = |message: &str, param: Value| json!({"error": {"message": message, "param": param}});
        let tokens = [
            error("Unsupported parameter: use 'max_completion_tokens' instead.", json!("max_tokens")),
            error("`max_tokens` is not supported by this model", json!(null)),
            json!({"message": "max_tokens is unsupported, use max_completion_tokens"}),
            json!({"error": "this model needs max_completion_tokens"}),
        ];
        for answer in tokens {
            let (learned, spoken) = learned(&[answer.clone(), answer.clone()]);
            assert_eq!(learned, [true, false], "{answer}");
            assert_eq!(spoken, RequestParameters { completion_tokens: true, no_temperature: false }, "{answer}");
        }
        let temperature = error("Only the default (1) value is supported.", json!("temperature"));
        assert_eq!(
            learned(&[temperature]),
            (vec![true], RequestParameters { completion_tokens: false, no_temperature: true })
        );
        let others = [
            error("The model `x` does not exist", json!(null)),
            error("max_tokens is too large", json!(null)),
            json!(null),
        ];
        assert_eq!(learned(&others).0, [false; 3]);
    }

    #[test]
    fn a_request_has_the_parameters_that_are_taken() {
        let chat = Chat { model: "m", prompt: "p", max_tokens: 7 };
        let body = RequestParameters { completion_tokens: false, no_temperature: false }.request(&chat);
        assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(7), &json!(0)));
        let body = RequestParameters { completion_tokens: true, no_temperature: true }.request(&chat);
        assert_eq!(body["max_completion_tokens"], 7);
        assert!(body.get("max_tokens").is_none() && body.get("temperature").is_none(), "{body}");
    }

    #[test]
    fn words_are_found_where_servers_put_them() {
        let answer = |message: Value, end: &str| json!({"choices": [{"message": message, "finish_reason": end}]});
        let said = |message: Value, end: &str| reply(&answer(message, end)).map(|reply| (reply.text, reply.cut));
        assert_eq!(said(json!({"content": "a"}), "stop"), Some(("a".to_owned(), false)));
        assert_eq!(said(json!({"content": null, "reasoning_content": "hm"}), "length"), Some((String::new(), true)));
        let parts = json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]});
        assert_eq!(said(parts, "stop"), Some(("ab".to_owned(), false)));
        assert_eq!(said(json!({"refusal": "no"}), "stop"), Some((String::new(), false)));
        for answer in [json!(null), json!({"choices": []}), json!({"choices": [{}]}), json!({"error": "x"})] {
            assert_eq!(reply(&answer), None, "{answer}");
        }
    }

    #[test]
    fn an_empty_account_is_told_from_a_busy_server() {
        assert!(out_of_money(&json!({"error": {"code": "insufficient_quota"}})));
        assert!(out_of_money(&json!({"error": {"type": "insufficient_quota", "code": null}})));
        assert!(!out_of_money(&json!({"error": {"code": "rate_limit_exceeded", "type": "requests"}})));
        assert!(!out_of_money(&json!(null)));
    }
}
