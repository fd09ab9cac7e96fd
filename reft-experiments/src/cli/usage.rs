//! What clap says of wrong arguments, in a line and in a user's words.

use clap::Command;

/// The number parsers' words, and ours.
const WORDS: [(&str, &str); 6] = [
    (" is not in 0..=4294967295", ": write a whole number from 0"),
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
    let said = WORDS.iter().fold(said, |said, (theirs, ours)| said.replace(theirs, ours));
    format!("{said} (`{command} --help`)")
}

#[cfg(test)]
mod tests {
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
