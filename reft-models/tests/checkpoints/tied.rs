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
fn one_name_is_enough_and_equal_ones_are_one() {
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
fn different_ones_are_not_tied_and_that_is_said() {
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
fn without_leave_to_tie_a_missing_end_is_an_error() {
    let folder = tied().set("tie_word_embeddings", json!(false)).write();
    let message = folder.load().map(|_| ()).expect_err("no head");
    check_message("no head", &message, &[HEAD, "\"tie_word_embeddings\": true"]);
    let mut folder = tied().set("tie_word_embeddings", json!(false));
    let stored = folder.tensors.remove(EMBEDDING).expect("there");
    folder.tensors.insert(HEAD.to_owned(), stored);
    let message = folder.write().load().map(|_| ()).expect_err("no embedding");
    check_message("no embedding", &message, &[EMBEDDING, "is missing"]);
}
