use std::fs;

use tempfile::TempDir;

use super::*;

/// Caches below `folder`, no network.
fn offline(folder: &TempDir) -> HubSettings {
    let path = |name: &str| folder.path().join(name).display().to_string();
    HubSettings::read(|name| match name {
        "REFT_CACHE" => Some(path("reft")),
        "HF_HUB_CACHE" => Some(path("hub")),
        "HF_HUB_OFFLINE" => Some("1".to_owned()),
        _ => None,
    })
}

/// Puts files of `org/name` into the shared cache, as revision `main`.
fn fill(folder: &TempDir, files: &[&str]) {
    let dataset = folder.path().join("hub/datasets--org--name");
    fs::create_dir_all(dataset.join("refs")).expect("a folder");
    fs::write(dataset.join("refs/main"), "abc\n").expect("written");
    for file in files {
        let path = dataset.join("snapshots/abc").join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "").expect("written");
    }
}

#[test]
fn ids_have_an_owner_a_name_and_perhaps_a_subset_and_a_revision() {
    for (text, expected) in [
        ("org/name", Some(("org/name", None, None))),
        ("org/name@v1.0", Some(("org/name", None, Some("v1.0")))),
        ("org/name/sub-set", Some(("org/name", Some("sub-set"), None))),
        ("org/name/sub@refs/pr/3", Some(("org/name", Some("sub"), Some("refs/pr/3")))),
        ("name", None),
        ("org/name/a/b", None),
        ("org/name/", None),
        ("/org/name", None),
        ("../name", None),
        ("org/na me", None),
        ("org/name@", None),
        ("org/name@../x", None),
    ] {
        let read = DatasetName::read(text).map(|name| (name.id, name.subset, name.revision));
        assert_eq!(read, expected, "{text}");
        assert_eq!(is_dataset_id(text), expected.is_some(), "{text}");
    }
}

#[test]
fn offline_the_files_of_other_programs_are_found_and_pinned() {
    let folder = TempDir::new().expect("a folder");
    let refused = |id: &str| Dataset::with(id, offline(&folder)).err().expect("not there").to_string();
    assert!(refused("org/name").contains("org/name: the data set is not in the Hugging Face cache"));
    fill(&folder, &["README.md", "data/train-0.parquet", "data/test-0.parquet"]);
    for id in ["org/name", "org/name@main", "org/name@abc", "org/name/data"] {
        let found = Dataset::with(id, offline(&folder)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.files(), ["data/test-0.parquet", "data/train-0.parquet"].map(Path::new), "{id}");
        assert_eq!(found.pinned(), format!("{}@abc", id.split('@').next().expect("an id")));
        assert!(found.fetch(&found.files()[0]).is_ok());
        let missing = found.fetch(Path::new("data/x.parquet")).expect_err("not there").to_string();
        assert!(missing.contains("its file data/x.parquet is not in the Hugging Face cache"), "{missing}");
    }
    assert!(refused("org/name/other").contains("no subset `other`: there is data"));
    fill(&folder, &["more/train-0.parquet"]);
    let several = refused("org/name@main");
    assert!(several.contains("such as org/name/data@main (there is data, more)"), "{several}");
    fill(&folder, &["default/train-0.parquet"]);
    let found = Dataset::with("org/name", offline(&folder)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.files(), [Path::new("default/train-0.parquet")]);
}

#[test]
fn folders_that_are_called_as_splits_are_no_subsets() {
    let folder = TempDir::new().expect("a folder");
    fill(&folder, &["train/0.parquet", "validation/0.parquet", "test/0.parquet"]);
    let found = Dataset::with("org/name", offline(&folder)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.files().len(), 3);
}
