use super::*;
use crate::data::need::AnswerNeed;

const ANSWER: Need = Need::Answer(AnswerNeed::Text);

fn rows_of(bytes: &[u8], need: Need) -> Result<Vec<Row>, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.json");
    std::fs::write(&path, bytes).expect("writable");
    read(&path, need).map_err(|error| error.to_string())
}

fn check(bytes: &[u8], need: Need, parts: &[&str]) {
    let shown = String::from_utf8_lossy(bytes).into_owned();
    let error = rows_of(bytes, need).expect_err(&shown);
    assert!(error.contains("a.json: ") && error.lines().count() == 1, "{shown}: {error}");
    for part in parts {
        assert!(error.contains(part), "{shown}: `{part}` is not in: {error}");
    }
    for word in ["permission", "expected value", "invalid type", "sequence", "at line"] {
        assert!(!error.contains(word), "{shown}: `{word}` is a parser's word: {error}");
    }
}

#[test]
fn lists_lines_and_wrappers_read_alike() {
    let (one, two) = (r#"{"question": "q", "answer": "1"}"#, r#"{"instruction": "r", "answer": "2", "more": [1]}"#);
    let expected = rows_of(format!("[{one}, {two}]").as_bytes(), ANSWER).expect("valid");
    assert_eq!((expected[0].instruction.as_str(), expected[1].answer.as_str()), ("q", "2"));
    for same in [
        format!("\u{feff}[{one},\r\n{two}]\r\n"),
        format!("{one}\n\n{two}\n"),
        format!("\u{feff}{one}\r\n\u{feff}{two}"),
        format!("{{\"data\": [{one}, {two}]}}"),
        format!("{{\n \"version\": \"1.1\",\n \"rows\": [\n  {one},\n  {two}\n ]\n}}\n"),
        format!("[{}, {two}]", one.replace("question", "\u{feff}question")),
        format!("[{}, {two}]", one.replace(": \"q", ": \"\u{feff}q")),
    ] {
        assert_eq!(rows_of(same.as_bytes(), ANSWER).as_ref(), Ok(&expected), "{same}");
    }
    let alone = rows_of(format!("{{\n\"choices\": [\"a\"],\n{}", &one[1..]).as_bytes(), ANSWER).expect("one row");
    assert_eq!(alone, expected[..1]);
}

#[test]
fn values_are_their_text() {
    for (value, text) in [
        ("null", ""),
        ("18", "18"),
        ("18.0", "18.0"),
        ("-1e3", "-1e3"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("true", "true"),
        ("\"007\"", "007"),
        ("\"a\\u00e9\\n\"", "a\u{e9}\n"),
    ] {
        let rows = rows_of(format!("[{{\"question\": \"q\", \"input\": {value}}}]").as_bytes(), Need::Question);
        assert_eq!(rows.expect(value)[0].input, text, "{value}");
    }
    let numbers = rows_of(br#"{"question": 12, "answer": false}"#, ANSWER).expect("valid");
    assert_eq!((numbers[0].instruction.as_str(), numbers[0].answer.as_str()), ("12", "false"));
}

#[test]
fn faults_are_named_with_row_and_key_in_files_of_one_line_and_of_many() {
    let good = r#"{"question": "q", "answer": "1"}"#;
    let cases: [(&str, &[&str]); 16] = [
        (r#"{"question": "r", "score": NaN}"#, &["row 2, key `score`", "`NaN` is not JSON: write null or a number"]),
        (r#"{"question": "r", "score": -Infinity}"#, &["row 2, key `score`", "`-Infinity` is not JSON"]),
        (r#"{"question": "r", "x": None}"#, &["row 2, key `x`", "`None` is not JSON: write null"]),
        (r#"{"question": "r", "id": 007}"#, &["row 2, key `id`", "`007`", "in double quotes"]),
        (r#"{"question": ["r"], "answer": "1"}"#, &["row 2, key `question`", "a list where a text belongs"]),
        (r#"{"question": "r", "answer": {"a": 1}}"#, &["row 2, key `answer`", "an object where a text belongs"]),
        (r#"{"question": "r", "answer": "1", "answer": "2"}"#, &["row 2, key `answer`", "there twice"]),
        (r#"{"question": "r", "instruction": "s", "answer": "1"}"#, &["row 2", "both `instruction` and `question`"]),
        (r#"["r", "1"]"#, &["row 2", "not an object"]),
        (r#""r""#, &["row 2", "not an object"]),
        (r#"{"question": "r", "answer": "1",}"#, &["row 2", "comma too many"]),
        ("{'question': 'r'}", &["row 2", "double quotes"]),
        (r#"{"question": "\ud83d", "answer": "1"}"#, &["row 2, key `question`", "half of a character"]),
        ("{\"question\": \"a\tb\", \"answer\": \"1\"}", &["row 2, key `question`", "a tab as it is"]),
        (r#"{"prompt": "r", "answer": "1"}"#, &["row 2", "the row has no instruction (its keys are prompt, answer)"]),
        (r#"{"question": " ", "answer": "1"}"#, &["row 2", "`question` is blank"]),
    ];
    for (bad, parts) in cases {
        check(format!("[{good}, {bad}, {good}]").as_bytes(), ANSWER, parts);
        check(format!("{{\"data\": [{good}, {bad}, {good}]}}").as_bytes(), ANSWER, parts);
        // A line that is no object stands between others that are.
        check(format!("{good}\n\n{bad}\n{good}\n").as_bytes(), ANSWER, &[parts, &["(line 3)"]].concat());
    }
}

#[test]
fn files_as_a_whole_are_refused_in_one_line() {
    let row = r#"{"question": "q", "answer": "1"}"#;
    let cases: [(&str, &[&str]); 14] = [
        ("", &["a.json: the file has no rows", "one JSON object a line"]),
        ("\u{feff} \n", &["the file has no rows"]),
        ("[]", &["the file has no rows"]),
        (r#"{"data": []}"#, &["the file has no rows"]),
        ("instruction,answer\nq,1\n", &["not JSON, it begins with `instruction,answer`"]),
        ("\"q\"", &["not JSON, it begins with"]),
        (r#"{"instruction": ["q"], "answer": ["a"]}"#, &["columns (`instruction` is a list)", "orient='records'"]),
        (r#"{"train": [], "test": []}"#, &["several lists (train, test)"]),
        (r#"{"a": {"question": "q"}}"#, &["one object without instruction (its keys are a)"]),
        (&format!("[{row}]\n[{row}]"), &["something follows the end"]),
        (&format!("{row} {row}"), &["something follows the end"]),
        (&format!("[{row}, {{\"question\": \"r\", \"ans"), &["row 2", "truncated"]),
        (&format!("{row}\n{{\"question\": "), &["row 2, key `question`: ", "truncated"]),
        ("{\n\"question\": \"q\"\n}\n{\n\"question\": \"r\"\n}\n", &["row 1", "one object a line"]),
    ];
    for (text, parts) in cases {
        check(text.as_bytes(), ANSWER, parts);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_named_with_row_key_and_place() {
    let bad = b"{\"question\": \"r\", \"input\": \"Caf\xe9\", \"answer\": \"1\"}";
    let good = br#"{"question": "q", "answer": "1"}"#;
    let place = "row 2, key `input`";
    let list = [&b"["[..], good, b", ", bad, b"]"].concat();
    let column = |bytes: &[u8]| bytes.iter().position(|&byte| byte == 0xe9).expect("there") + 1;
    let (in_list, in_line) = (format!("(line 1, byte {})", column(&list)), format!("(line 2, byte {})", column(bad)));
    let said = "is not UTF-8 (byte e9, `\u{e9}` in Latin-1): save it as UTF-8";
    check(&list, ANSWER, &[place, &in_list, said]);
    check(&[&good[..], b"\n", bad, b"\n"].concat(), ANSWER, &[place, &in_line, said]);
    check(&[&b"{\"data\": "[..], &list, b"}"].concat(), ANSWER, &[place, "not UTF-8"]);
    check(bad, ANSWER, &["row 1, key `input`", "not UTF-8"]);
    // A fault before it comes first.
    check(&[&b"[{\"question\": NaN}, "[..], bad, b"]"].concat(), ANSWER, &["row 1, key `question`", "NaN"]);
}

#[test]
fn rows_without_what_is_needed_are_refused_by_number() {
    let row = |more: &str| {
        format!(
            "[{{\"question\": \"q\", \"output\": \"o\", \"answer\": \"A 1 #### 1\"}}, {{\"question\": \"r\"{more}}}]"
        )
    };
    for (need, more, parts) in [
        (ANSWER, "", "row 2: the row has no `answer` (its keys are question): write the right one under `answer`"),
        (ANSWER, r#", "label": "A""#, "its keys are question, label"),
        (ANSWER, r#", "answer": null"#, "row 2: `answer` is null"),
        (ANSWER, r#", "answer": """#, "row 2: `answer` is blank"),
        (ANSWER, r#", "answer": " \n\u00a0""#, "row 2: `answer` is blank"),
        (Need::Answer(AnswerNeed::Number), r#", "answer": "ten""#, "`answer` is `ten`, which is no number"),
        (Need::Answer(AnswerNeed::FinalNumber), r#", "answer": "So 18.""#, "which is no number after ####"),
        (Need::Output, r#", "answer": "1""#, "row 2: the row has no `output`"),
        (Need::Output, r#", "output": " ""#, "row 2: `output` is blank"),
    ] {
        check(row(more).as_bytes(), need, &[parts, "take the row out"]);
        assert_eq!(rows_of(row(more).as_bytes(), Need::Question).expect("judged by others").len(), 2);
    }
    check(br#"[{"question": "q", "answer": "BC"}]"#, Need::Answer(AnswerNeed::Letter), &["is no letter A to E alone"]);
    assert!(rows_of(br#"[{"question": "q", "answer": " B "}]"#, Need::Answer(AnswerNeed::Letter)).is_ok());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_files_are_answered_with_one_line(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut bytes = br#"{"data": [{"question": "q", "input": null, "answer": 18}, {"question": "gr\u00fcn", "answer": "a"}]}"#.to_vec();
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(if cut < 200 { len } else { cut % len });
        if let Err(error) = rows_of(&bytes, ANSWER) {
            proptest::prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    }
}
