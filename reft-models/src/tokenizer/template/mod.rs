//! Conversations as text, by the Jinja template that came with the tokenizer, rendered as transformers'
//! `apply_chat_template` does.

mod date;
mod filters;
mod marks;
mod python;
mod source;

use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, State, Value, context};

pub use self::date::{Clock, ClockError};
use super::conversation::{Conversation, PromptEnding};

/// Steps that a template may take: one that loops over `range(10 ** 9)` ends with an error.
const FUEL: u64 = 20_000_000;

/// The chat templates of a tokenizer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Templates {
    /// Those that are taken without being asked for: `default`, `tool_use`.
    named: BTreeMap<String, String>,
    /// Whether they can be asked for by name.
    listed: bool,
}

/// The name of the template that is used where no other is asked for.
pub(super) const DEFAULT: &str = "default";

/// The one that is used where tools are given.
const WITH_TOOLS: &str = "tool_use";

impl Templates {
    /// Named ones of a list, which can be asked for.
    pub(super) fn listed(named: BTreeMap<String, String>) -> Self {
        Self { named, listed: true }
    }

    /// One template, or files with others beside it.
    pub(super) fn files(named: BTreeMap<String, String>) -> Self {
        Self { named, listed: false }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// The template to use, or why there is none. `asked` is a name of the list, or a template.
    pub(super) fn choose<'a>(&'a self, asked: Option<&'a str>, tools: bool) -> Result<&'a str, String> {
        if let Some(asked) = asked {
            return Ok(self.named.get(asked).filter(|_| self.listed).map_or(asked, String::as_str));
        }
        let with_tools = self.named.get(WITH_TOOLS).filter(|_| tools);
        if let Some(source) = with_tools.or_else(|| self.named.get(DEFAULT)) {
            return Ok(source);
        }
        let names: Vec<&str> = self.named.keys().map(String::as_str).collect();
        Err(format!(
            "the tokenizer names several ({}) and none of them `default`: save the one to use as `chat_template` in the \
             tokenizer_config.json of the model's folder",
            names.join(", ")
        ))
    }

    /// As `tokenizer_config.json` has them: one text, or a list of named ones; none where there is no template.
    pub(super) fn as_json(&self) -> Option<serde_json::Value> {
        match self.named.get(DEFAULT).filter(|_| self.named.len() == 1) {
            Some(only) => Some(only.clone().into()),
            None if self.named.is_empty() => None,
            None => {
                let entry = |(name, template)| serde_json::json!({ "name": name, "template": template });
                Some(self.named.iter().map(entry).collect())
            }
        }
    }

    /// Whether the template asks for the time.
    pub(super) fn dated(&self) -> bool {
        self.choose(None, false).is_ok_and(|source| source.contains("strftime_now"))
    }
}

/// What a template is given beside the conversation.
pub(super) struct TemplateContext<'a> {
    /// `bos_token`, `eos_token` and the like, where the tokenizer has them.
    pub specials: &'a BTreeMap<&'static str, String>,
    /// What `strftime_now` reads.
    pub clock: Clock,
}

/// A conversation as a template writes it. Special tokens are written out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rendered {
    pub text: String,
    /// The bytes of its `{% generation %}` blocks; none where the template has no such block.
    pub said: Option<Vec<Range<usize>>>,
}

/// The conversation by this template.
/// Refuses a text that is no template in Jinja. Filters and variables are looked up when a conversation is written.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn check_chat_template(source: &str) -> Result<(), String> {
    let clock = Clock::at(0).unwrap_or_else(Clock::now);
    let environment = environment(clock, ['\u{fdd0}', '\u{fdd1}']).map_err(reason)?;
    environment.template_from_str(&source::in_minijinja(source)).map(drop).map_err(reason)
}

pub(super) fn render(
    source: &str,
    conversation: &Conversation<'_>,
    scene: &TemplateContext<'_>,
) -> Result<Rendered, String> {
    let given = (conversation.messages, conversation.tools, conversation.documents, &conversation.variables);
    let given = serde_json::to_string(&given).map_err(|error| error.to_string())?;
    let marks = marks::unused(&[source, &given])
        .ok_or_else(|| "the conversation holds all of Unicode's noncharacters U+FDD0 to U+FDEF".to_owned())?;
    let environment = environment(scene.clock, marks).map_err(reason)?;
    let Conversation { messages, tools, documents, .. } = *conversation;
    let value = |list: Option<&[serde_json::Value]>| list.map(|list| Value::from(Serde(list)));
    let (messages, tools, documents) = (Value::from(Serde(messages)), value(tools), value(documents));
    let variables = Value::from(Serde(&conversation.variables));
    let specials = Value::from(Serde(scene.specials));
    let add_generation_prompt = conversation.ending == PromptEnding::Prompt;
    let context =
        context! { ..variables, ..context! { messages, add_generation_prompt, tools, documents, ..specials } };
    let marked = environment.render_str(&source::in_minijinja(source), context).map_err(reason)?;
    let (text, said) = marks::taken_out(&marked, marks);
    Ok(Rendered { text, said: source::has_generation(source).then_some(said) })
}

/// Jinja as transformers sets it up: whitespace around blocks, methods of Python's strings and dictionaries, its filters
/// and functions.
fn environment(clock: Clock, marks: [char; 2]) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    python::add(&mut environment);
    environment.set_fuel(Some(FUEL));
    environment.add_function("raise_exception", |reason: &Value| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, reason.to_string()))
    });
    environment.add_function("strftime_now", move |format: &str| clock.format(format));
    environment.add_function(source::PERCENT, percent);
    let generation = move |state: &mut State, named: Kwargs| marks::generation(state, marks, &named);
    environment.add_function(marks::GENERATION, generation);
    environment.add_filter("tojson", filters::to_json);
    environment.add_filter("wordcount", filters::word_count);
    environment.add_filter("center", filters::center);
    environment.add_filter("int", filters::int);
    environment.add_filter("truncate", filters::truncate);
    environment.add_filter("striptags", minijinja_contrib::filters::striptags);
    Ok(environment)
}

/// Python's `%`: a remainder of numbers, or values put into a text with `%s` and the like.
fn percent(state: &State, left: &Value, right: Value) -> Result<Value, Error> {
    let Some(format) = left.as_str() else {
        return state.env().compile_expression("left % right")?.eval(context! { left, right });
    };
    let values: Vec<Value> = if right.is_tuple() { right.try_iter()?.collect() } else { vec![right] };
    minijinja::formatting::format(minijinja::formatting::FormatStyle::Printf, format, &values).map(Value::from)
}

/// The error in one line: what is wrong, and in which line of the template.
#[allow(clippy::needless_pass_by_value)]
fn reason(error: Error) -> String {
    let what = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    error.line().map_or(what.clone(), |line| format!("{what} (line {line} of the template)"))
}

#[cfg(test)]
mod tests {
    use super::super::conversation::{Message, Role};
    use super::*;

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.to_owned() }
    }

    fn render(source: &str, messages: &[Message]) -> Result<String, String> {
        let specials = BTreeMap::from([("bos_token", "<s>".to_owned()), ("eos_token", "</s>".to_owned())]);
        let clock = Clock::parse("2025-03-09").expect("a date");
        let messages: Vec<serde_json::Value> =
            messages.iter().map(|message| serde_json::to_value(message).expect("JSON")).collect();
        let conversation = Conversation { ending: PromptEnding::Prompt, ..Conversation::new(&messages) };
        super::render(source, &conversation, &TemplateContext { specials: &specials, clock })
            .map(|rendered| rendered.text)
    }

    fn conversation() -> [Message; 3] {
        [message(Role::User, " hello "), message(Role::Assistant, "hi"), message(Role::User, "who are you?")]
    }

    #[test]
    fn a_conversation_in_the_llama_2_manner() {
        let source = "{{ bos_token }}{% for m in messages %}\n    {% if m['role'] == 'user' %}\n[INST] {{ \
                      m['content'].strip() }} [/INST]{% elif m.role == 'assistant' %}\n {{ m['content'] | trim }} {{ \
                      eos_token }}{% endif %}\n{% endfor %}";
        assert_eq!(
            render(source, &conversation()).expect("valid"),
            "<s>[INST] hello [/INST] hi </s>[INST] who are you? [/INST]"
        );
    }

    #[test]
    fn a_template_may_refuse_a_conversation() {
        let source = "\n{% if messages[0].role == 'system' %}{{ raise_exception('no system\nturns') }}{% endif %}";
        let error = render(source, &[message(Role::System, "be brief")]).expect_err("refused");
        assert_eq!(error, "no system turns (line 2 of the template)");
    }

    #[test]
    fn a_token_that_the_tokenizer_lacks_prints_nothing_and_cannot_be_added() {
        assert_eq!(render("[{{ pad_token }}]{{ pad_token is defined }}", &[]).expect("valid"), "[]False");
        assert!(render("{{ pad_token + 'x' }}", &[]).is_err());
        assert_eq!(render("{% if tools is not none %}x{% endif %}{{ eos_token }}", &[]).expect("valid"), "</s>");
    }

    #[test]
    fn the_assistants_blocks_are_rendered_as_their_words() {
        let source = "{% for m in messages %}\n{% if m.role == 'assistant' %}\n    {% generation %}\n{{ m.content }}\n    \
                      {%- endgeneration %}\n.\n{% else %}\n{{ m.content }};\n{% endif %}\n{% endfor %}";
        assert_eq!(render(source, &conversation()).expect("valid"), " hello ;\nhi.\nwho are you?;\n");
    }

    #[test]
    fn percent_formats_texts_and_divides_numbers() {
        let cases = [
            ("{{ '%s: %s' % ('a', 1) }}", "a: 1"),
            ("{{ '%s' % messages[0].role | upper }}", "USER"),
            ("{{ ('%d' ~ '%%') % 7 }}{{ 'x' }}", "7%x"),
            ("{% set f = '<%s>' %}{{ f % 'b' + '!' }}", "<b>!"),
            ("{{ 7 % 3 + 10 % 4 }}|{{ -7 % 3 }}|{{ 2 * 7 % 4 }}", "3|2|2"),
            ("{% if messages | length % 2 == 1 %}odd{% endif %}", "odd"),
            (
                "{{ {'a': '50% {{ x }}'}['a'] }}{% raw %}{{ '%s' % 1 }}{% endraw %}{# '%' #}",
                "50% {{ x }}{{ '%s' % 1 }}",
            ),
            ("{{ '%s' % 'a %} b' }}{% set x = 5 % 3 -%} {{ x }}", "a %} b2"),
        ];
        for (source, expected) in cases {
            assert_eq!(render(source, &conversation()).expect(source), expected, "{source}");
        }
        assert!(render("{{ '%s %s' % 'one' }}", &[]).is_err(), "a value is missing");
        for unclosed in ["{{ m\u{feff}.", "{{ 5 % \u{e9}", "{%", "{{"] {
            assert!(render(unclosed, &[]).is_err(), "{unclosed}");
        }
    }

    #[test]
    fn an_endless_template_ends() {
        assert!(
            render("{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}", &[]).is_err()
        );
    }

    #[test]
    fn several_templates_without_a_default_are_named() {
        let named =
            |names: &[&str]| Templates::listed(names.iter().map(|name| ((*name).to_owned(), "x".into())).collect());
        let both = named(&["rag", "default"]);
        assert_eq!(both.choose(None, true), Ok("x"));
        let several = named(&["tool_use", "rag"]);
        let error = several.choose(None, false).expect_err("no default");
        assert!(error.contains("(rag, tool_use)") && error.contains("tokenizer_config.json"), "{error}");
        assert!(named(&[]).is_empty() && !several.is_empty());
    }
}
