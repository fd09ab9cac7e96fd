//! `data.chat_template`: a file, or the template itself, as the configuration beside a run has it.

use std::path::Path;

use reft_models::tokenizer::check_chat_template;

use super::paths;
use crate::data::text;

/// The template that a setting means.
///
/// # Errors
/// When the file cannot be read or holds no template, in words.
pub fn read(given: &str) -> Result<String, String> {
    let correct = |place: &str, text: &str| {
        check_chat_template(text).map_err(|reason| format!("{place}: {reason}: correct the template"))
    };
    if is_template(given) {
        return correct("the template", given).map(|()| given.to_owned());
    }
    let path = paths::setting(given)?;
    let text = text::read(Path::new(&path)).map_err(|error| error.to_string())?;
    if is_template(&text) {
        correct(&path, &text).map(|()| text)
    } else {
        Err(format!("{path}: no chat template: a file in Jinja, such as a model's chat_template.jinja, is meant"))
    }
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stands_for_what_it_holds_and_a_template_for_itself() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chat.jinja");
        let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
        std::fs::write(&path, template).expect("writable");
        assert_eq!(read(&path.display().to_string()).as_deref(), Ok(template));
        assert_eq!(read(template).as_deref(), Ok(template));
        std::fs::write(&path, "user: hello").expect("writable");
        let error = read(&path.display().to_string()).expect_err("no template");
        assert!(error.contains("chat.jinja: no chat template"), "{error}");
        std::fs::write(&path, "{% for m in messages %}{{ m.content ").expect("writable");
        let error = read(&path.display().to_string()).expect_err("half a template");
        assert!(error.contains("chat.jinja: ") && error.ends_with("correct the template"), "{error}");
        assert!(read("none.jinja").expect_err("missing").contains("none.jinja"));
    }
}
