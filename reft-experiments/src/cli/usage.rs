//! What clap says of wrong arguments, in a line and in a user's words.

use clap::Command;

/// The number parsers' words, and ours.
const WORDS: [(&str, &str); 6] = [
    ("number would be zero for non-zero type", "write a whole number from 1"),
    ("invalid digit found in string", "write a whole number"),
    ("cannot parse integer from empty string", "write a whole number"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("invalid float literal", "write a number"),
];

/// The command and the subcommands that the arguments of a process begin with: `reft sweep run`.
pub(super) fn command_asked(command: &Command, mut arguments: impl Iterator<Item = String>) -> String {
    let (mut words, mut at) = (vec![command.get_name()], command);
    arguments.next();
    while let Some(found) = arguments.next().and_then(|argument| at.find_subcommand(argument)) {
        words.push(found.get_name());
        at = found;
    }
    words.join(" ")
}

/// Clap's error without its summary of the usage, and with the command whose `--help` has it.
pub(super) fn in_a_line(error: &str, command: &str) -> String {
    let of_usage = |part: &&str| {
        let escaping = part.starts_with("tip: to pass '");
        escaping || part.starts_with("Usage:") || part.starts_with("For more information")
    };
    let line = |part: &str| part.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let parts = error.split("\n\n").map(str::trim).filter(|part| !part.is_empty() && !of_usage(part)).map(line);
    let said = parts.collect::<Vec<_>>().join("; ");
    let said = WORDS.iter().fold(in_range(&said), |said, (theirs, ours)| said.replace(theirs, ours));
    format!("{said} (`{command} --help`)")
}

/// Bounds above this are those of a type, which nobody needs to know.
const BOUND: u64 = 1_000_000;

/// ` is not in 1..=16`, in words.
fn in_range(said: &str) -> String {
    let Some((before, (range, after))) = said.split_once(" is not in ").and_then(|(before, rest)| {
        let end = rest.find(|letter: char| !"0123456789.=-".contains(letter)).unwrap_or(rest.len());
        Some((before, rest.split_at_checked(end)?))
    }) else {
        return said.to_owned();
    };
    let Some((low, high)) = range.split_once("..") else { return said.to_owned() };
    let to = match high.strip_prefix('=').map(str::parse::<u64>) {
        Some(Ok(most)) if most <= BOUND => format!(" to {most}"),
        _ => String::new(),
    };
    format!("{before}: write a whole number from {low}{to}{after}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges_are_said_in_words() {
        for (theirs, ours) in [
            (
                "'0' for '--rank <RANK>': 0 is not in 1..9223372036854775807",
                "'0' for '--rank <RANK>': 0: write a whole number from 1",
            ),
            ("0 is not in 0..=4294967295 (`reft`)", "0: write a whole number from 0 (`reft`)"),
            ("0 is not in 1..=16", "0: write a whole number from 1 to 16"),
            ("a is not in the list", "a is not in the list"),
        ] {
            assert_eq!(in_range(theirs), ours);
        }
    }

    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    #[command(name = "reft")]
    struct Arguments {
        #[arg(long)]
        rank: Option<u32>,
        #[arg(long, value_parser = ["last", "all"])]
        turns: Option<String>,
        #[arg(required = true)]
        model: String,
    }

    fn said(arguments: &[&str]) -> String {
        let whole = ["reft"].iter().chain(arguments);
        in_a_line(&Arguments::try_parse_from(whole).expect_err("wrong").to_string(), "reft train")
    }

    #[test]
    fn the_subcommand_is_named() {
        let command = Command::new("reft").subcommand(Command::new("sweep").subcommand(Command::new("run")));
        let asked = |arguments: &[&str]| command_asked(&command, arguments.iter().map(ToString::to_string));
        assert_eq!(asked(&["x", "sweep", "run", "sweep", "--help"]), "reft sweep run");
        assert_eq!(asked(&["x", "--version"]), "reft");
    }

    #[test]
    fn each_mistake_is_one_line_with_the_remedy() {
        let number = "error: invalid value 'abc' for '--rank <RANK>': write a whole number (`reft train --help`)";
        assert_eq!(said(&["--rank", "abc", "m"]), number);
        let turns =
            "error: invalid value 'none' for '--turns <TURNS>' [possible values: last, all] (`reft train --help`)";
        assert_eq!(said(&["--turns", "none", "m"]), turns);
        assert_eq!(
            said(&[]),
            "error: the following required arguments were not provided: <MODEL> (`reft train --help`)"
        );
        let foreign = said(&["--positions", "l1", "m"]);
        assert_eq!(foreign, "error: unexpected argument '--positions' found (`reft train --help`)");
        let unknown = said(&["--rnk", "3", "m"]);
        assert!(unknown.contains("'--rnk'") && unknown.contains("'--rank'") && !unknown.contains('\n'), "{unknown}");
    }
}
