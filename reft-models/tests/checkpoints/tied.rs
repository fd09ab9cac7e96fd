//! A head that is the embedding, of which the file holds one name, the other, or both.

use reft_core::testing::{Tol, assert_close};
use serde_json::json;

use crate::folder::{Folder, check_message};

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// The golden tied model, which stores the embedding.
fn tied() -> Folder {
    let mut folder = Folder::golden("llama-tied").set("tie_word_embeddings", json!(true));
    folder.tensors.remove(HEAD);
    folder
}

#[test]
fn a_tied_weight_is_read_under_either_name_and_counted_once() {
    let embedding_only = tied().write();
    let expected = embedding_only.logits();
    let parameters = embedding_only.load().expect("loaded").parameters();
    let mut head_only = tied();
    let stored = head_only.tensors.remove(EMBEDDING).expect("there");
    head_only.tensors.insert(HEAD.to_owned(), stored);
    let mut both = tied();
    both.tensors.insert(HEAD.to_owned(), both.tensors[EMBEDDING].copy());
    for (what, folder) in [("head only", head_only), ("both", both)] {
        let folder = folder.write();
        assert_close(what, &folder.logits(), &expected, Tol::Exact);
        let model = folder.load().expect("loaded");
        assert_eq!(model.parameters(), parameters, "{what}: counted once");
        assert!(model.notes().is_empty(), "{what}");
    }
}

#[test]
fn a_head_that_differs_from_the_embedding_is_not_tied_and_that_is_noted() {
    let mut folder = tied();
    folder.tensors.insert(HEAD.to_owned(), folder.tensors[EMBEDDING].flip([0]));
    let folder = folder.write();
    let model = folder.load().expect("loaded");
    let [note] = model.notes() else { panic!("one note: {:?}", model.notes()) };
    check_message(
        "differ",
        note,
        &["tie_word_embeddings is true", EMBEDDING, HEAD, "differ", "set tie_word_embeddings to false"],
    );
    assert_close("the head's own rows", &folder.logits(), &tied().write().logits().flip([1]), Tol::F32);
    let mut untied = tied().set("tie_word_embeddings", json!(false));
    untied.tensors.insert(HEAD.to_owned(), untied.tensors[EMBEDDING].flip([0]));
    let untied = untied.write();
    assert_close("as untied", &folder.logits(), &untied.logits(), Tol::Exact);
    assert!(untied.load().expect("loaded").notes().is_empty());
}

#[test]
fn a_missing_embedding_or_head_is_an_error_unless_the_two_are_tied() {
    let folder = tied().set("tie_word_embeddings", json!(false)).write();
    let message = folder.load().map(|_| ()).expect_err("no head");
    check_message("no head", &message, &[HEAD, "\"tie_word_embeddings\": true"]);
    let mut folder = tied().set("tie_word_embeddings", json!(false));
    let stored = folder.tensors.remove(EMBEDDING).expect("there");
    folder.tensors.insert(HEAD.to_owned(), stored);
    let message = folder.write().load().map(|_| ()).expect_err("no embedding");
    check_message("no embedding", &message, &[EMBEDDING, "is missing"]);
}
