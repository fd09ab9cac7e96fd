//! `.bin` files in both forms: views of storages as `torch.save` leaves them, what is nested, prefixed or damaged.

use std::fs;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reft_core::testing::{Tol, assert_close};
use reft_models::weights::Weights;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::folder::{Folder, check_message};
use crate::pickle_writer::{Form, Item, Storage, file};

const FORMS: [Form; 2] = [Form::Zip, Form::Legacy];

fn dict(items: Vec<(&str, Item)>) -> Item {
    Item::Dict(items.into_iter().map(|(name, item)| (name.to_owned(), item)).collect())
}

/// A folder with this file and an empty configuration.
fn folder(bytes: &[u8]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("config.json"), "{}").expect("written");
    fs::write(folder.path().join("pytorch_model.bin"), bytes).expect("written");
    folder
}

/// Every tensor of a folder as f32, or the first error.
fn read_all(folder: &TempDir) -> Result<Vec<(String, Tensor)>, String> {
    let weights = Weights::open(folder.path()).map_err(|error| error.to_string())?;
    let read = |name: &str| {
        let tensor = weights.tensor(name, weights.shape(name).unwrap_or_default(), Kind::Float, Device::Cpu);
        tensor.map(|tensor| (name.to_owned(), tensor)).map_err(|error| error.to_string())
    };
    weights.names().into_iter().map(read).collect()
}

#[test]
fn views_of_storages_are_read_by_offset_and_strides() {
    let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
    let all = Tensor::from_slice(&values);
    let halves: Vec<u8> = [0x3c00_u16, 0xc000].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let brains: Vec<u8> = [0x3f80_u16, 0xc000].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let storages = [
        Storage::floats(&values),
        Storage { class: "HalfStorage", width: 2, bytes: halves },
        Storage { class: "BFloat16Storage", width: 2, bytes: brains },
        Storage {
            class: "DoubleStorage",
            width: 8,
            bytes: [0.5_f64, -3.0].iter().flat_map(|v| v.to_le_bytes()).collect(),
        },
        Storage { class: "LongStorage", width: 8, bytes: vec![0; 16] },
    ];
    let view = |offset, sizes: &[i32], strides: &[i32]| Item::Tensor(0, offset, sizes.to_vec(), strides.to_vec());
    let item = dict(vec![
        ("column", view(2, &[6], &[4])),
        ("every-other-row", view(4, &[3, 4], &[8, 1])),
        ("expanded", view(5, &[3, 2], &[0, 1])),
        ("middle", view(8, &[2, 4], &[4, 1])),
        ("none", view(24, &[0, 4], &[4, 1])),
        ("parameter", Item::Parameter(0, 0, vec![4, 6], vec![6, 1])),
        ("scalar", view(7, &[], &[])),
        ("transposed", view(0, &[4, 6], &[1, 4])),
        ("whole", view(0, &[2, 3, 4], &[12, 4, 1])),
        ("half", Item::Tensor(1, 0, vec![2], vec![1])),
        ("brain", Item::Tensor(2, 0, vec![2], vec![1])),
        ("double", Item::Tensor(3, 0, vec![2], vec![1])),
        ("ids", Item::Tensor(4, 0, vec![2], vec![1])),
        ("epoch", Item::Number(3)),
    ]);
    let rows = all.reshape([6, 4]);
    let expected = [
        ("brain", Tensor::from_slice(&[1.0_f32, -2.0])),
        ("column", rows.select(1, 2)),
        ("double", Tensor::from_slice(&[0.5_f32, -3.0])),
        ("every-other-row", rows.slice(0, 1, None, 2)),
        ("expanded", Tensor::from_slice(&[5.0_f32, 6.0, 5.0, 6.0, 5.0, 6.0]).reshape([3, 2])),
        ("half", Tensor::from_slice(&[1.0_f32, -2.0])),
        ("middle", rows.narrow(0, 2, 2)),
        ("none", Tensor::zeros([0, 4], (Kind::Float, Device::Cpu))),
        ("parameter", all.reshape([4, 6])),
        ("scalar", Tensor::from(7.0_f32)),
        ("transposed", rows.transpose(0, 1)),
        ("whole", all.reshape([2, 3, 4])),
    ];
    for form in FORMS {
        let read = read_all(&folder(&file(form, &item, &storages))).unwrap_or_else(|error| panic!("{form:?}: {error}"));
        assert_eq!(read.len(), expected.len(), "{form:?}");
        for ((name, tensor), (other, expected)) in read.iter().zip(&expected) {
            assert_eq!((name.as_str(), tensor.size()), (*other, expected.size()), "{form:?}");
            assert_close(&format!("{form:?}: {name}"), tensor, expected, Tol::Exact);
        }
    }
}

/// A golden Llama as a `.bin` whose names pass through `rename`, perhaps put into `around`.
fn llama(form: Form, rename: impl Fn(&str) -> String, around: impl FnOnce(Item) -> Item) -> Folder {
    let folder = Folder::golden("llama1");
    let mut storages = Vec::new();
    let items = folder.tensors.iter().map(|(name, tensor)| {
        let values = Vec::<f32>::try_from(&tensor.flatten(0, -1)).expect("f32");
        storages.push(Storage::floats(&values));
        let list = |sizes: Vec<i64>| sizes.into_iter().map(|size| size as i32).collect::<Vec<_>>();
        (rename(name), Item::Tensor(storages.len() - 1, 0, list(tensor.size()), list(tensor.stride())))
    });
    let item = Item::Dict(items.collect());
    folder.write_config();
    fs::write(folder.path().join("pytorch_model.bin"), file(form, &around(item), &storages)).expect("written");
    folder
}

#[test]
fn either_form_gives_the_same_model_and_what_is_in_the_way_is_named() {
    let expected = Folder::golden("llama1").write().logits();
    for form in FORMS {
        let plain = llama(form, str::to_owned, |item| item);
        assert_close(&format!("{form:?}"), &plain.logits(), &expected, Tol::Exact);
        for prefix in ["module.", "base_model.model.", "_orig_mod."] {
            let message =
                llama(form, |name| format!("{prefix}{name}"), |item| item).load().map(|_| ()).expect_err(prefix);
            let found = format!("`{prefix}model.embed_tokens.weight` is there");
            check_message(prefix, &message, &["is missing", &found, &format!("`{prefix}` taken from the names")]);
        }
        for key in ["state_dict", "model", "model_state_dict"] {
            let around = |item| dict(vec![("epoch", Item::Number(3)), (key, item)]);
            let message = llama(form, str::to_owned, around).load().map(|_| ()).expect_err(key);
            check_message(key, &message, &["is missing", &format!("`{key}.model.embed_tokens.weight` is there")]);
        }
        let message = llama(form, str::to_owned, |_| Item::Object).load().map(|_| ()).expect_err("a module");
        check_message("a module", &message, &["pytorch_model.bin", "a __main__.Net", "state_dict()"]);
    }
}

#[test]
fn views_outside_their_storage_are_refused_whatever_their_sizes() {
    let storages = [Storage::floats(&[1.0, 2.0, 3.0, 4.0])];
    let wrong: &[(i32, &[i32], &[i32])] = &[
        (0, &[5], &[1]),
        (1, &[4], &[1]),
        (0, &[2, 2], &[3, 1]),
        (0, &[-1], &[1]),
        (-1, &[1], &[1]),
        (0, &[2], &[-1]),
        (0, &[2, 2], &[1]),
        (0, &[i32::MAX, i32::MAX, i32::MAX], &[i32::MAX, i32::MAX, i32::MAX]),
        (0, &[i32::MAX, i32::MAX], &[0, 0]),
        (0, &[i32::MAX], &[0]),
        (i32::MAX, &[1], &[1]),
    ];
    for form in FORMS {
        for (offset, sizes, strides) in wrong {
            let item = dict(vec![("w", Item::Tensor(0, *offset, sizes.to_vec(), strides.to_vec()))]);
            let message = read_all(&folder(&file(form, &item, &storages))).map(|_| ()).expect_err("outside");
            check_message(&format!("{sizes:?}"), &message, &["pytorch_model.bin", "`w`", "download it again"]);
        }
    }
}

#[test]
fn what_is_no_such_file_is_said_in_one_line() {
    let cases: [(&[u8], &[&str]); 4] = [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", &["Git LFS", "git lfs pull"]),
        (b"<!DOCTYPE html><html></html>", &["a page of a web server", "download it again"]),
        (b"", &["download it again"]),
        (b"nothing of the kind", &["truncated or damaged", "download it again"]),
    ];
    for (bytes, parts) in cases {
        let message = read_all(&folder(bytes)).map(|_| ()).expect_err("no checkpoint");
        check_message("no checkpoint", &message, &[&["pytorch_model.bin"], parts].concat());
    }
}

#[test]
fn damaged_files_are_refused_or_read_and_never_a_panic() {
    let seed = rand::rng().random::<u64>();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let storages = [Storage::floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])];
    let inner = dict(vec![("a", Item::Tensor(0, 0, vec![2, 3], vec![3, 1])), ("n", Item::Number(1))]);
    let item = dict(vec![("w", Item::Parameter(0, 1, vec![2, 2], vec![1, 2])), ("inner", inner)]);
    for form in FORMS {
        let whole = file(form, &item, &storages);
        for length in (0..whole.len()).step_by(3) {
            if let Err(message) = read_all(&folder(&whole[..length])) {
                check_message(&format!("{form:?} {length}"), &message, &["pytorch_model.bin"]);
            }
        }
        for round in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            if let Err(message) = read_all(&folder(&bytes)) {
                check_message(&format!("{form:?}, seed {seed}, round {round}"), &message, &["pytorch_model.bin"]);
            }
        }
    }
}
