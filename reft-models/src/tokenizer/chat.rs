//! Conversations as text, by the template that came with the tokenizer.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sets the scene.
    System,
    /// Asks.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A Jinja template, as Hugging Face's tokenizers carry it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ChatTemplate {
    pub source: String,
    /// What the template calls `bos_token` and `eos_token`.
    pub bos: String,
    pub eos: String,
}

impl ChatTemplate {
    /// The conversation up to the point where the model is to speak. Special tokens are written out.
    ///
    /// Templates that would print today's date do not get it, so that a prompt is the same tomorrow.
    pub(super) fn render(&self, messages: &[Message]) -> Result<String, String> {
        let mut environment = Environment::new();
        // Whitespace and methods of strings, as Python's library has them.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(reason)?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        let messages = Value::from(Serde(messages));
        let (bos_token, eos_token) = (&self.bos, &self.eos);
        let context = context! { messages, bos_token, eos_token, add_generation_prompt => true };
        environment.render_str(&self.source, context).map_err(reason)
    }
}

/// The library's words in one line.
#[allow(clippy::needless_pass_by_value)]
fn reason(error: Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.to_owned() }
    }

    fn render(source: &str, messages: &[Message]) -> Result<String, String> {
        let template = ChatTemplate { source: source.to_owned(), bos: "<s>".to_owned(), eos: "</s>".to_owned() };
        template.render(messages)
    }

    #[test]
    fn a_conversation_in_the_llama_2_manner() {
        let source = "{{ bos_token }}{% for m in messages %}\n    {% if m['role'] == 'user' %}\n[INST] {{ \
                      m['content'].strip() }} [/INST]{% elif m.role == 'assistant' %}\n {{ m['content'] | trim }} {{ \
                      eos_token }}{% endif %}\n{% endfor %}";
        let turns =
            [message(Role::User, " hello "), message(Role::Assistant, "hi"), message(Role::User, "who are you?")];
        assert_eq!(
            render(source, &turns).expect("valid"),
            "<s>[INST] hello [/INST] hi </s>[INST] who are you? [/INST]"
        );
    }

    #[test]
    fn a_template_may_refuse_a_conversation() {
        let source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}";
        let error = render(source, &[message(Role::System, "be brief")]).expect_err("refused");
        assert!(error.contains("no system turns") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn the_date_is_not_in_the_prompt() {
        let source = "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}26 Jul 2024{% endif %}";
        assert_eq!(render(source, &[]).expect("valid"), "26 Jul 2024");
    }
}
