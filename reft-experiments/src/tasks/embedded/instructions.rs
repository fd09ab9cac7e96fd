//! Embedded instructions: short requests with short answers, some with an input.
//!
//! Every instruction names a word, an event or a pair of its split's own part of the lists, so none stands in two
//! splits.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::facts::{ACTIVITIES, FEELINGS, MEANS, OPPOSITES, SIZES, STATEMENTS};
use super::words::{KINDS, NAMES};
use super::{Draw, capitalised, kind_with_member, strangers};
use crate::data::row::Row;

/// Everything that is asked for.
const FORMS: [fn(&mut Draw) -> Row; 16] = [
    kind_of,
    same_kind,
    sentence,
    blank,
    odd_one_out,
    alphabet,
    capitals,
    past_tense,
    polite,
    needed,
    steps,
    feeling,
    end_of_statement,
    next_sentence,
    opposite,
    too_large,
];

/// Verbs now and in the past, for every thing and person of the lists.
const VERBS: [(&str, &str); 12] = [
    ("sees", "saw"),
    ("draws", "drew"),
    ("likes", "liked"),
    ("points at", "pointed at"),
    ("thinks of", "thought of"),
    ("dreams of", "dreamed of"),
    ("looks at", "looked at"),
    ("talks about", "talked about"),
    ("reads about", "read about"),
    ("writes about", "wrote about"),
    ("asks about", "asked about"),
    ("forgets", "forgot"),
];

/// One request of any form.
pub fn request(draw: &mut Draw, _: usize) -> Row {
    let form = *FORMS.choose(&mut draw.rng).expect("forms");
    form(draw)
}

fn answered(instruction: String, output: String) -> Row {
    Row { instruction, output, ..Row::default() }
}

fn name(draw: &mut Draw) -> &'static str {
    NAMES.choose(&mut draw.rng).expect("names")
}

fn kind_of(draw: &mut Draw) -> Row {
    let (kind, member) = kind_with_member(draw);
    answered(format!("What does the word {member} name?"), format!("The word {member} names {}.", KINDS[kind].name))
}

fn same_kind(draw: &mut Draw) -> Row {
    let (kind, member) = kind_with_member(draw);
    let others = draw.others(KINDS[kind].members, member, 3).join(", ");
    answered(format!("List three more words of the kind that the word {member} belongs to."), others)
}

fn sentence(draw: &mut Draw) -> Row {
    let (kind, member) = kind_with_member(draw);
    let other = strangers(draw, kind, 1)[0];
    let output = format!("In the picture the {member} is next to the {other}.");
    answered(format!("Write a short sentence with the words {member} and {other}."), output)
}

fn blank(draw: &mut Draw) -> Row {
    let (_, member) = kind_with_member(draw);
    let name = name(draw);
    let input = format!("Yesterday {name} drew a picture of the ___.");
    let output = input.replace("___", member);
    Row { input, ..answered(format!("Put the word {member} into the blank of the sentence."), output) }
}

fn odd_one_out(draw: &mut Draw) -> Row {
    let (kind, member) = kind_with_member(draw);
    let other = (kind + draw.rng.random_range(1..KINDS.len())) % KINDS.len();
    let mut words = draw.others(KINDS[other].members, member, 3);
    words.insert(draw.rng.random_range(0..=words.len()), member);
    let (name, others) = (KINDS[kind].name, KINDS[other].name);
    let output = format!("The word {member} does not belong: it names {name}, each of the others names {others}.");
    answered(format!("Which of these words does not belong with the others: {}?", words.join(", ")), output)
}

fn alphabet(draw: &mut Draw) -> Row {
    let (kind, member) = kind_with_member(draw);
    let mut words = strangers(draw, kind, 2);
    words.push(member);
    let instruction = format!("Put these words in alphabetical order: {}.", words.join(", "));
    words.sort_unstable();
    answered(instruction, words.join(", "))
}

fn capitals(draw: &mut Draw) -> Row {
    let (_, member) = kind_with_member(draw);
    answered(format!("Write the word {member} in capital letters."), member.to_uppercase())
}

fn past_tense(draw: &mut Draw) -> Row {
    let (_, member) = kind_with_member(draw);
    let name = name(draw);
    let (now, then) = VERBS.choose(&mut draw.rng).expect("verbs");
    let instruction = format!("Rewrite the sentence about {name} and the {member} in the past tense.");
    Row {
        input: format!("{name} {now} the {member}."),
        ..answered(instruction, format!("{name} {then} the {member}."))
    }
}

fn polite(draw: &mut Draw) -> Row {
    let (_, member) = kind_with_member(draw);
    let name = name(draw);
    let output = format!("Could you please draw the {member}, {name}?");
    answered(format!("Ask {name} politely to draw the {member}."), output)
}

fn needed(draw: &mut Draw) -> Row {
    let (goal, means) = *draw.one(&MEANS);
    answered(format!("What do I need to {goal}?"), format!("You need {means}."))
}

fn steps(draw: &mut Draw) -> Row {
    let (goal, means) = *draw.one(&MEANS);
    answered(format!("Give two steps to {goal}."), format!("1. Get {means}.\n2. {}.", capitalised(goal)))
}

fn feeling(draw: &mut Draw) -> Row {
    let (event, feeling) = *draw.one(&FEELINGS);
    let name = name(draw);
    let event = event.replace("{}", name);
    answered(format!("{event}. Say in one sentence how {name} feels."), format!("{name} feels {feeling}."))
}

fn end_of_statement(draw: &mut Draw) -> Row {
    let (beginning, end) = *draw.one(&STATEMENTS);
    answered(format!("Finish the sentence: {beginning} ..."), format!("{beginning} {end}."))
}

fn next_sentence(draw: &mut Draw) -> Row {
    let (_, beginning, end) = *draw.one(&ACTIVITIES);
    let (story, subject) = beginning.rsplit_once(' ').expect("a beginning ends with the subject of what follows");
    answered(format!("Go on with this story in one sentence: {story}"), format!("{subject} {end}"))
}

fn opposite(draw: &mut Draw) -> Row {
    let (one, other) = *draw.one(&OPPOSITES);
    let (asked, output) = if draw.rng.random() { (one, other) } else { (other, one) };
    answered(format!("What is the opposite of {asked}?"), format!("The opposite of {asked} is {output}."))
}

fn too_large(draw: &mut Draw) -> Row {
    let (inner, outer) = *draw.one(&SIZES);
    answered(format!("Why does the {inner} not fit into the {outer}?"), format!("It is too large for the {outer}."))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parts;

    #[test]
    fn requests_are_short_and_complete() {
        for part in parts("instruct") {
            for row in &part {
                let whole =
                    [&row.instruction, &row.input, &row.output].into_iter().all(|text| !text.contains(['{', '_']));
                assert!(whole || row.input.contains("___"), "{row:?}");
                assert!((3..=120).contains(&row.output.len()) && row.answer.is_empty(), "{row:?}");
            }
            let with_input = part.iter().filter(|row| !row.input.is_empty()).count();
            assert!(with_input * 30 > part.len() && with_input * 3 < part.len(), "{with_input} of {}", part.len());
        }
    }
}
