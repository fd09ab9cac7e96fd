use serde_json::json;

use super::*;

fn read_bytes(name: &str, bytes: &[u8]) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("writable");
    let rows = read(&path).map_err(|error| error.to_string())?;
    Ok(rows.into_iter().map(|row| Value::Object(row.cells)).collect())
}

#[test]
fn every_format_gives_the_same_rows() {
    let expected = [json!({"q": "a, \"b\"", "a": "1"}), json!({"q": "c", "a": "2"})];
    for (name, text) in [
        ("a.json", r#"[{"q": "a, \"b\"", "a": "1"}, {"q": "c", "a": "2"}]"#),
        ("a.json", "{\"q\": \"a, \\\"b\\\"\", \"a\": \"1\"}\n\n{\"q\": \"c\", \"a\": \"2\"}\n"),
        (
            "a.json",
            "{\"data\": [{\"q\": \"a, \\\"b\\\"\", \"a\": \"1\"},\n {\"q\": \"c\", \"a\": \"2\"}], \"version\": 1}",
        ),
        ("a.jsonl", "\u{feff}{\"q\": \"a, \\\"b\\\"\", \"a\": \"1\"}\r\n{\"q\": \"c\", \"a\": \"2\", \"x\": null}"),
        ("a.csv", "q,a\r\n\"a, \"\"b\"\"\",1\r\nc,2\r\n"),
        ("a.CSV", "\u{feff}q,a\n\"a, \"\"b\"\"\",1\nc,2"),
        ("a.tsv", "q\ta\r\na, \"b\"\t1\r\n\r\nc\t2\r\n"),
    ] {
        assert_eq!(read_bytes(name, text.as_bytes()).as_deref(), Ok(&expected[..]), "{name}: {text}");
    }
}

#[test]
fn values_keep_their_kind_and_a_single_object_may_be_the_only_row() {
    let rows = read_bytes("a.jsonl", br#"{"n": 1.50, "yes": true, "turns": [{"role": "user", "content": "hi"}]}"#);
    let rows = rows.expect("one row");
    assert_eq!(rows, [json!({"n": 1.5, "yes": true, "turns": [{"role": "user", "content": "hi"}]})]);
}

#[test]
fn bad_files_are_named_with_place_and_remedy_in_one_line() {
    let parquet = if cfg!(feature = "parquet") {
        ["a.parquet: not readable as parquet", "copy it again"]
    } else {
        ["a.parquet: this build has no reader of parquet files", "build with the feature parquet"]
    };
    let half = "{\"q\": \"a\"}\n{\"q\": \"b";
    for (name, bytes, parts) in [
        ("a.txt", &b"q"[..], ["a.txt: the format is not known", ".jsonl"]),
        ("a.jsonl", b"", ["a.jsonl: the file has no rows", "write one row"]),
        ("a.csv", b"\xef\xbb\xbf", ["a.csv: the file has no rows", "write one row"]),
        ("a.csv", b"q,a\n", ["a.csv: the file has no rows", "write one row"]),
        ("a.tsv", b"\n\n", ["a.tsv: the file has no rows", "write one row"]),
        ("a.json", b"[]", ["a.json: the file has no rows", "write one row"]),
        ("a.jsonl", half.as_bytes(), ["a.jsonl: row 2: the file or the line ends in the middle", "truncated"]),
        ("a.json", b"[{\"q\": 1},\n{\"q\": ", ["a.json: row 2: the file or the line ends", "truncated"]),
        ("a.jsonl", b"{\"q\": 1}\n\n{\"q\": NaN}", ["a.jsonl: row 2 (line 3): `NaN` is not JSON", "write null"]),
        ("a.json", b"[{\"q\": 1}, 3]", ["a.json: row 2 (line 1): not an object", "as a JSON object"]),
        ("a.json", b"q,a\n1,2", ["a.json: not JSON, it begins with `q,a`", "one object a line"]),
        ("a.jsonl", b"{\"q\": 1}\n{\"q\": 1, \"q\": 2}", ["row 2: two columns have the name `q`", "keep one"]),
        ("a.json", b"[{\"q\": 1, \"q\": 2}]", ["row 1: two columns have the name `q`", "keep one"]),
        ("a.csv", b"q,a,q\n1,2,3", ["line 1: two columns have the name `q` (columns 1 and 3)", "rename one"]),
        ("a.tsv", b"q\tq\n1\t2", ["line 1: two columns have the name `q`", "rename one"]),
        ("a.csv", b"q,a\n1,2\n\"3,4\n5,6\n", ["row 2 (line 3): a double quote is never closed", "close it"]),
        ("a.csv", b"q,a\n\"1\"x,2\n", ["row 1 (line 2): `x` follows a closing double quote", "twice"]),
        ("a.csv", b"q,a\n1,2,3\n", ["row 1 (line 2): 3 values instead of 2", "double quotes"]),
        ("a.tsv", b"q\ta\n1\n", ["row 1 (line 2): 1 values instead of 2", "save it as .csv"]),
        ("a.csv", b"q,a\n1,\0\n", ["a.csv: line 2 has a NUL byte", "save it as UTF-8"]),
        ("a.jsonl", b"{\"q\": \"\xff\"}", ["a.jsonl: line 1, byte 8 is not UTF-8", "save it as UTF-8"]),
        ("a.parquet", b"PAR1", parquet),
    ] {
        let error = read_bytes(name, bytes).expect_err("refused");
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
}
