//! Prompts put as those were that adapters were trained on.

use std::path::PathBuf;

use anyhow::Result;

use crate::run::saved_task::SavedTask;

/// Prompts as the adapters' were in training, which is said; where the adapters were trained with different texts around prompts,
/// or with conversations, they are given as they are, which is said too.
///
/// # Errors
/// When the file that says what an adapter was trained for is damaged.
pub(super) fn as_trained(adapters: &[PathBuf], prompts: &[String]) -> Result<Vec<String>> {
    let tasks: Vec<_> = adapters.iter().map(|adapter| SavedTask::find(adapter)).collect::<Result<_, _>>()?;
    for (adapter, task) in adapters.iter().zip(&tasks) {
        if task.as_ref().is_some_and(SavedTask::is_of_conversations) {
            let shown = adapter.display();
            eprintln!(
                "{shown} was trained on conversations: a prompt has no chat template around it; generate --chat has"
            );
        }
    }
    let completed = |task: &Option<SavedTask>| -> Vec<String> {
        let of = |prompt: &String| task.as_ref().and_then(|task| task.completed(prompt));
        prompts.iter().map(|prompt| of(prompt).unwrap_or_else(|| prompt.clone())).collect()
    };
    let mut each = tasks.iter().map(completed);
    let Some(first) = each.next().filter(|first| first != prompts || adapters.len() > 1) else {
        return Ok(prompts.to_vec());
    };
    if each.any(|other| other != first) {
        eprintln!("the adapters were trained with different texts around prompts: they are given as they are");
        return Ok(prompts.to_vec());
    }
    if let Some((_, put)) = prompts.iter().zip(&first).find(|(prompt, put)| prompt != put) {
        let shown: Vec<String> = adapters.iter().map(|adapter| adapter.display().to_string()).collect();
        let which = if prompts.len() > 1 { "prompts, the first changed one" } else { "prompt" };
        eprintln!("{which}, as in the training of {}: {put:?} (--raw gives it as it is)", shown.join(", "));
    }
    Ok(first)
}
