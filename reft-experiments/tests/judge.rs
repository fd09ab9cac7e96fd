//! Judging against a server on this machine that answers, refuses, stalls or talks nonsense, and is killed meanwhile.

#![cfg(feature = "program")]

mod stub;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use reft_experiments::alpaca_eval::annotations::{self, Annotation};
use reft_experiments::alpaca_eval::judge::client::{Client, Limits};
use reft_experiments::alpaca_eval::judge::endpoint::Endpoint;
use reft_experiments::alpaca_eval::judge::journal::Journal;
use reft_experiments::alpaca_eval::judge::pace::RequestInterval;
use reft_experiments::alpaca_eval::judge::pairs::{OutputPair, OutputPairs};
use reft_experiments::alpaca_eval::judge::prompt::JudgePrompt;
use reft_experiments::alpaca_eval::judge::{Judge, JudgeError, JudgeEvent};
use reft_experiments::alpaca_eval::outputs::{self, ModelOutput};
use reft_experiments::alpaca_eval::win_rate::WinRate;
use serde_json::{Value, json};
use stub::{Answer, Asked, PROMPT, Stub, fair, refuse};
use tempfile::TempDir;

const KEY: &str = "sk-test-0123";

fn outputs_of(generator: &str, numbers: impl Iterator<Item = usize>) -> Vec<ModelOutput> {
    let output = |number| ModelOutput {
        dataset: None,
        instruction: format!("instruction {number}"),
        output: format!("{generator} {number}"),
        generator: generator.to_owned(),
    };
    numbers.map(output).collect()
}

fn pairs(n: usize) -> Vec<OutputPair> {
    OutputPairs::new(outputs_of("model", 0..n), outputs_of("reference", (0..n).rev()))
        .expect("the same instructions")
        .pairs
}

/// Limits that cost a test no time.
fn quick() -> Limits {
    let (none, short) = (Duration::ZERO, Duration::from_millis(1));
    let pace = RequestInterval { interval: none, first_wait: 8 * short, longest_wait: 9 * short, second: short };
    Limits { timeout: Duration::from_secs(30), attempts: 8, pace }
}

/// A judge with a journal, and the waits that it was put to.
struct Court {
    folder: TempDir,
    waits: Mutex<Vec<(String, Duration)>>,
}

impl Court {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), waits: Mutex::default() }
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.folder.path().join("journal.jsonl")).expect("writable")
    }

    fn run(&self, stub: &Stub, n: usize, limits: Limits, threads: usize) -> Result<Vec<Annotation>, JudgeError> {
        let template = JudgePrompt::parse(PROMPT, Path::new("prompt.txt")).expect("valid");
        let judge = Judge { model: "judge-1".to_owned(), template, max_tokens: 16, seed: 3 };
        let client = Client::new(Endpoint::new(&stub.url, KEY).expect("valid"), limits);
        let watch = |event: JudgeEvent<'_>| {
            if let JudgeEvent::Waiting { reason, wait, .. } = event {
                self.waits.lock().expect("no thread panics with it").push((reason.to_owned(), wait));
            }
        };
        judge.run(&pairs(n), &self.journal(), &client, threads, &watch)
    }

    fn waits(&self) -> Vec<(String, Duration)> {
        self.waits.lock().expect("no thread panics with it").clone()
    }
}

/// What a fair judge prefers.
fn fair_preferences(n: usize) -> Vec<Option<f64>> {
    (0..n).map(|number| Some([2.0, 1.0][number % 2])).collect()
}

fn preferences(annotations: &[Annotation]) -> Vec<Option<f64>> {
    annotations.iter().map(|annotation| annotation.preference).collect()
}

#[test]
fn every_pair_is_asked_once_and_judged_whatever_its_order() {
    let (stub, court) = (Stub::start(|asked, _| fair(asked)), Court::new());
    let annotations = court.run(&stub, 24, quick(), 4).expect("a judge that answers");
    assert_eq!(preferences(&annotations), fair_preferences(24));
    let instructions: Vec<_> = annotations.iter().map(|annotation| annotation.instruction.as_str()).collect();
    assert_eq!(instructions, (0..24).map(|number| format!("instruction {number}")).collect::<Vec<_>>());
    let first = &annotations[0];
    assert_eq!((first.output_1.as_str(), first.output_2.as_str()), ("reference 0", "model 0"));
    assert_eq!((first.generator_1.as_str(), first.generator_2.as_str()), ("reference", "model"));
    assert_eq!(stub.numbers(), (0..24).collect::<Vec<_>>());
    let shown_first = stub.log().iter().filter(|asked| asked.first.starts_with("model")).count();
    assert!((1..24).contains(&shown_first), "both orders, not {shown_first} of 24 with the model's output first");
    for asked in stub.log() {
        assert_eq!(asked.authorization, format!("Bearer {KEY}"));
        assert_eq!((&asked.body["model"], &asked.body["temperature"]), (&json!("judge-1"), &json!(0)));
        assert_eq!(asked.body["max_tokens"], 16);
    }
    let path = court.folder.path().join("annotations.json");
    annotations::write(&path, &annotations).expect("writable");
    let rate = WinRate::of(&annotations::read(&path).expect("valid")).expect("preferences");
    assert_eq!((rate.n_total, rate.n_wins, rate.n_wins_base), (24, 12, 12));
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_the_server_says() {
    let (stub, court) = (
        Stub::start(|asked, before| if before == 0 { refuse(429, "Retry-After: 3") } else { fair(asked) }),
        Court::new(),
    );
    let annotations = court.run(&stub, 4, quick(), 2).expect("a judge that answers at last");
    assert_eq!(preferences(&annotations), fair_preferences(4));
    assert_eq!(stub.numbers(), [0, 0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(court.waits(), vec![("status 429".to_owned(), Duration::from_millis(3)); 4]);
}

#[test]
fn a_failing_server_is_asked_again_after_growing_waits() {
    let (stub, court) =
        (Stub::start(|asked, before| if before < 2 { refuse(500, "X-Stub: 1") } else { fair(asked) }), Court::new());
    let annotations = court.run(&stub, 1, quick(), 1).expect("a judge that answers at last");
    assert_eq!(preferences(&annotations), fair_preferences(1));
    assert_eq!(stub.numbers(), [0, 0, 0]);
    let waits = court.waits();
    let [(_, first), (_, second)] = &waits[..] else { panic!("{waits:?}") };
    let half = |millis| Duration::from_millis(millis) / 2;
    assert!((half(8)..=half(16)).contains(first), "between half and all of 8 ms: {first:?}");
    assert!((half(9)..=half(18)).contains(second), "doubled, but no longer than 9 ms: {second:?}");
}

#[test]
fn a_stalling_server_is_asked_again() {
    let (stub, court) =
        (Stub::start(|asked, before| if before == 0 { Answer::Hold } else { fair(asked) }), Court::new());
    // Many attempts: a busy machine may need longer than that for a true answer.
    let limits = Limits { timeout: Duration::from_millis(200), attempts: 100, ..quick() };
    let annotations = court.run(&stub, 2, limits, 2).expect("a judge that answers at last");
    assert_eq!(preferences(&annotations), fair_preferences(2));
    for number in 0..2 {
        assert!(stub.numbers().iter().filter(|&&asked| asked == number).count() >= 2, "{:?}", stub.numbers());
    }
    assert!(court.waits()[0].0.contains("timeout"), "{:?}", court.waits());
}

#[test]
fn a_refusal_ends_it_at_once_without_showing_the_key() {
    let quoted = json!({"error": {"message": format!("Incorrect API key\nprovided: {KEY}")}}).to_string();
    let refusal = move |_: &Asked, _| Answer::Refuse { status: 401, header: "X-Stub: 1", body: quoted.clone() };
    let (stub, court) = (Stub::start(refusal), Court::new());
    let error = court.run(&stub, 5, quick(), 1).expect_err("refused").to_string();
    let expected =
        format!("{}/chat/completions: status 401 (Incorrect API key provided: [key]): check OPENAI_API_KEY", stub.url);
    assert_eq!(error, expected);
    assert_eq!(stub.numbers(), [0], "nothing else is asked");
    assert!(court.waits().is_empty(), "{:?}", court.waits());
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let (stub, court) = (Stub::start(|_, _| refuse(503, "X-Stub: 1")), Court::new());
    let error = court.run(&stub, 1, Limits { attempts: 3, ..quick() }, 1).expect_err("given up").to_string();
    assert!(error.contains("/chat/completions: status 503, in the last of 3 attempts: "), "{error}");
    assert_eq!(stub.numbers(), [0, 0, 0]);
}

#[test]
fn a_reply_that_is_not_understood_is_kept_and_counts_for_nothing() {
    let answer = |asked: &Asked, _| if asked.number == 1 { Answer::Say("I cannot say") } else { fair(asked) };
    let (stub, court) = (Stub::start(answer), Court::new());
    let annotations = court.run(&stub, 3, quick(), 3).expect("a judge that answers");
    assert_eq!(preferences(&annotations), [Some(2.0), None, Some(2.0)]);
    assert_eq!(annotations[1].raw_completion, Some(json!("I cannot say")));
    let rate = WinRate::of(&annotations).expect("two preferences");
    assert_eq!((rate.n_total, rate.n_wins, rate.n_dropped), (2, 2, 1));
}

fn refusal(status: u16, error: &Value) -> Answer {
    Answer::Refuse { status, header: "X-Stub: 1", body: json!({ "error": error }).to_string() }
}

#[test]
fn a_judge_of_the_newer_kind_is_asked_with_the_parameters_that_it_takes() {
    let newer = |asked: &Asked, _| {
        if asked.body.get("max_tokens").is_some() {
            let said =
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.";
            return refusal(400, &json!({"message": said, "param": "max_tokens", "code": "unsupported_parameter"}));
        }
        if asked.body.get("temperature").is_some() {
            return refusal(400, &json!({"message": "Only the default (1) is supported.", "param": "temperature"}));
        }
        fair(asked)
    };
    let (stub, court) = (Stub::start(newer), Court::new());
    let annotations = court.run(&stub, 3, Limits { attempts: 1, ..quick() }, 1).expect("a judge that answers");
    assert_eq!(preferences(&annotations), fair_preferences(3));
    assert_eq!(stub.numbers(), [0, 0, 0, 1, 2], "what is learned is kept");
    assert_eq!(stub.log()[4].body["max_completion_tokens"], 16);
    assert!(court.waits().is_empty(), "{:?}", court.waits());
}

#[test]
fn an_account_without_credit_ends_it_at_once() {
    let empty = json!({"message": "You exceeded your current quota.", "code": "insufficient_quota"});
    let (stub, court) = (Stub::start(move |_, _| refusal(429, &empty)), Court::new());
    let error = court.run(&stub, 5, quick(), 1).expect_err("refused").to_string();
    assert!(error.contains("status 429 (You exceeded your current quota.): add credit at the provider"), "{error}");
    assert_eq!(stub.numbers(), [0], "nothing else is asked");
    assert!(court.waits().is_empty(), "{:?}", court.waits());
}

#[test]
fn a_judge_that_thinks_its_reply_away_is_an_error_unless_it_spoke_before() {
    let thinking = |words: Value, end: &str| {
        Answer::Send(json!({"choices": [{"message": {"content": words}, "finish_reason": end}]}).to_string())
    };
    let (stub, court) = (Stub::start(move |_, _| thinking(json!(null), "length")), Court::new());
    let error = court.run(&stub, 5, quick(), 1).expect_err("nothing is said").to_string();
    assert!(error.contains("used all 16 tokens of its reply before it said anything: allow more, such as"), "{error}");
    assert_eq!(stub.numbers(), [0], "nothing else is asked");

    let mostly = move |asked: &Asked, _| match asked.number {
        1 => thinking(json!("<think>\na"), "length"),
        2 => thinking(json!(null), "length"),
        _ => fair(asked),
    };
    let (stub, court) = (Stub::start(mostly), Court::new());
    let annotations = court.run(&stub, 4, quick(), 1).expect("a judge that answers");
    assert_eq!(preferences(&annotations), [Some(2.0), None, None, Some(1.0)]);
}

/// The program in a folder with outputs, a reference and a prompt, without the user's key.
fn reft(folder: &Path, arguments: &[&str]) -> Command {
    outputs::write(&folder.join("m.json"), &outputs_of("model", 0..8)).expect("writable");
    outputs::write(&folder.join("r.json"), &outputs_of("reference", 0..9)).expect("writable");
    std::fs::write(folder.join("prompt.txt"), PROMPT).expect("writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_reft"));
    command.current_dir(folder).args(arguments).env_remove("OPENAI_API_KEY").env_remove("OPENAI_BASE_URL");
    command
}

const JUDGE: [&str; 15] = [
    "judge",
    "--outputs",
    "m.json",
    "--reference",
    "r.json",
    "--judge-model",
    "judge-1",
    "--out",
    "a.json",
    "--template",
    "prompt.txt",
    "--rpm",
    "600000",
    "--parallel",
    "1",
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Checks for exit code 1 and a single line on standard error.
fn check_complaint(output: &Output, expected: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    for part in expected {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn a_killed_judge_goes_on_where_it_was_and_asks_nothing_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (reached, arrival) = mpsc::channel();
    let stub = Stub::start(move |asked, _| {
        if asked.number < 5 {
            return fair(asked);
        }
        reached.send(()).expect("the test waits");
        Answer::Hold
    });
    let command = |stub: &Stub| {
        let mut command = reft(folder.path(), &[&JUDGE[..], &["--yes"]].concat());
        command.env("OPENAI_BASE_URL", &stub.url).env("OPENAI_API_KEY", KEY);
        command
    };
    let mut child = command(&stub).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let came = arrival.recv_timeout(Duration::from_mins(2));
    child.kill().expect("it waits for an answer");
    child.wait().expect("it ends");
    came.expect("the sixth question");
    let journal = folder.path().join("a.journal.jsonl");
    let mut lines = std::fs::read_to_string(&journal).expect("kept");
    assert_eq!(lines.lines().count(), 5);
    // As if it had been killed while the last line was written.
    lines.truncate(lines.len() - 9);
    std::fs::write(&journal, lines).expect("writable");

    let stub = Stub::start(|asked, _| fair(asked));
    let output = command(&stub).output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(stub.numbers(), [4, 5, 6, 7]);
    assert!(text(&output.stderr).contains("estimate: 4 of 8 pairs"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("win rate 50.00 % ± "), "{}", text(&output.stdout));
    let annotations = annotations::read(&folder.path().join("a.json")).expect("valid");
    assert_eq!(preferences(&annotations), fair_preferences(8));

    let stub = Stub::start(|asked, _| fair(asked));
    assert!(command(&stub).output().expect("the program starts").status.success());
    assert!(stub.numbers().is_empty(), "{:?}", stub.numbers());
}

#[test]
fn no_request_is_sent_before_the_confirmation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stub = Stub::start(|asked, _| fair(asked));
    let arguments = [&JUDGE[..], &["--limit", "3", "--price-in", "1000", "--price-out", "2000"]].concat();
    let output =
        reft(folder.path(), &arguments).env("OPENAI_BASE_URL", &stub.url).output().expect("the program starts");
    let said = text(&output.stderr);
    assert!(output.status.success() && output.stdout.is_empty(), "{said}");
    // A prompt is `instruction 0|reference 0|model 0`: 33 characters, so 9 tokens; a reply has at most 16.
    // 27 · $1000 / 10⁶ + 48 · $2000 / 10⁶ = $0.027 + $0.096.
    let estimate = "estimate: 3 of 3 pairs to judge, about 27 tokens in and at most 48 out, about $0.12";
    assert!(said.lines().any(|line| line == estimate), "{said}");
    assert!(said.contains("r.json: 1 of its instructions") && said.contains("add --yes"), "{said}");
    assert!(stub.numbers().is_empty(), "{:?}", stub.numbers());
    assert!(!folder.path().join("a.json").exists());
}

#[test]
fn mistakes_are_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |arguments: &[&str]| reft(folder.path(), arguments).output().expect("the program starts");
    let yes = [&JUDGE[..], &["--yes"]].concat();
    check_complaint(&run(&yes), &["OPENAI_API_KEY is not set: ", "https://api.openai.com/v1", "OPENAI_BASE_URL"]);
    let swapped = JUDGE.map(|word| match word {
        "m.json" => "r.json",
        "r.json" => "m.json",
        word => word,
    });
    check_complaint(&run(&swapped), &["m.json: 1 of 9 instructions have no output", "`instruction 8`"]);
    let missing = JUDGE.map(|word| if word == "prompt.txt" { "none.txt" } else { word });
    check_complaint(&run(&missing), &["none.txt", "check the path"]);
}

#[test]
fn the_win_rate_of_a_file_of_the_official_tool() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = |preference: &str| {
        format!(
            r#"{{"instruction": "NaN", "output_1": "r", "generator_1": "text_davinci_003", "output_2": "m",
             "generator_2": "x", "annotator": "alpaca_eval_gpt4", "preference": {preference}}}"#
        )
    };
    let run = |preferences: &[&str]| {
        let rows: Vec<String> = preferences.iter().map(|preference| row(preference)).collect();
        std::fs::write(folder.path().join("a.json"), format!("[{}]", rows.join(",\n"))).expect("writable");
        reft(folder.path(), &["win-rate", "a.json"]).output().expect("the program starts")
    };
    // Wins 1, 0, 0.5: mean 1/2; squares 1/4 + 1/4 + 0, variance 1/4, standard error (1/2) / √3 = 0.2887.
    let output = run(&["2", "1.0", "NaN", "1.5", "null"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let expected = "win rate 50.00 % ± 28.87 (n 3: 1 wins, 1 losses, 1 draws; 2 dropped)\n";
    assert_eq!(text(&output.stdout), expected);
    check_complaint(&run(&["2", "3"]), &["a.json: row 2: preference 3: write 1"]);
    check_complaint(&run(&["NaN"]), &["a.json: none of the 1 annotations has a preference"]);
}
