//! Word problems of the embedded arithmetic tasks: what is asked, and the steps to the answer.

use self::Op::{Minus, Over, Plus, Times};
use self::Operand::{Fixed, Found, Given};

/// A calculation.
#[derive(Clone, Copy)]
pub enum Op {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Times,
    /// `/`
    Over,
}

/// A number in a calculation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A number of the question.
    Given(usize),
    /// The result of an earlier step.
    Found(usize),
    /// A number that everybody knows, such as the legs of a hen.
    Fixed(usize),
}

/// The beginning of a sentence, and the calculation that it ends with.
pub type CalculationStep = (&'static str, Operand, Op, Operand);

/// A problem without its numbers.
pub struct Story {
    /// `{0}`, `{1}` and `{2}` are numbers; `{name}`, `{friend}`, `{things}` and `{others}` are drawn from lists.
    pub question: &'static str,
    /// The result of the last one is the answer.
    pub steps: &'static [CalculationStep],
}

/// For `{things}` and `{others}`: plurals of what one can count, buy, lose and give away.
pub const THINGS: [&str; 16] = [
    "apples", "books", "marbles", "stickers", "stamps", "cards", "shells", "coins", "pencils", "beads", "buttons",
    "cookies", "balloons", "candles", "ribbons", "lemons",
];

/// Multiple choice, one or two steps. No capital letter from A to E stands in a step: the first one said is the answer.
pub const AQUA: [Story; 10] = [
    Story {
        question: "A train goes {0} miles an hour. How many miles does it go in {1} hours?",
        steps: &[("It goes", Given(0), Times, Given(1))],
    },
    Story {
        question: "The sum of two numbers is {0}. One of them is {1}. What is the other number?",
        steps: &[("The other number is", Given(0), Minus, Given(1))],
    },
    Story {
        question: "The sides of a rectangle are {0} meters and {1} meters. What is its perimeter in meters?",
        steps: &[("Two sides are", Given(0), Plus, Given(1)), ("The perimeter is", Found(0), Times, Fixed(2))],
    },
    Story {
        question: "What is the average of {0} and {1}?",
        steps: &[("The sum is", Given(0), Plus, Given(1)), ("The average is", Found(0), Over, Fixed(2))],
    },
    Story {
        question: "A shirt of {0} dollars is now {1} dollars cheaper. How many dollars do {2} such shirts cost?",
        steps: &[("One shirt is", Given(0), Minus, Given(1)), ("The price is", Found(0), Times, Given(2))],
    },
    Story {
        question: "One machine makes {0} parts an hour. How many parts do {1} machines make in {2} hours?",
        steps: &[("In one hour", Given(0), Times, Given(1)), ("In all hours", Found(0), Times, Given(2))],
    },
    Story {
        question: "A man is {0} years old and his brother is {1} years younger. How old will the brother be in {2} \
                   years?",
        steps: &[("The brother is", Given(0), Minus, Given(1)), ("Then he will be", Found(0), Plus, Given(2))],
    },
    Story {
        question: "A tank holds {0} liters. If {1} liters run out every minute, after how many minutes is it empty?",
        steps: &[("It takes", Given(0), Over, Given(1))],
    },
    Story {
        question: "Some number times {0} is {1}. What is that number?",
        steps: &[("The number is", Given(1), Over, Given(0))],
    },
    Story {
        question: "A shop mixes {0} kilos of rice with {1} kilos and fills {2} equal bags. How many kilos are in a \
                   bag?",
        steps: &[("The mix is", Given(0), Plus, Given(1)), ("One bag is", Found(0), Over, Given(2))],
    },
];

/// Grade-school problems of two or three steps.
pub const GSM8K: [Story; 10] = [
    Story {
        question: "{name} sells {0} {things} in the morning, twice as many in the afternoon and {1} in the evening. \
                   How many {things} does {name} sell that day?",
        steps: &[
            ("In the afternoon", Given(0), Times, Fixed(2)),
            ("By then", Given(0), Plus, Found(0)),
            ("In the end", Found(1), Plus, Given(1)),
        ],
    },
    Story {
        question: "A box has {0} rows of {1} {things}. {name} takes {2} of them out. How many {things} stay in the \
                   box?",
        steps: &[("The box has", Given(0), Times, Given(1)), ("There stay", Found(0), Minus, Given(2))],
    },
    Story {
        question: "{name} earns {0} dollars an hour and works for {1} hours. Then {name} spends {2} dollars on \
                   {things}. How many dollars are left?",
        steps: &[("{name} earns", Given(0), Times, Given(1)), ("There are left", Found(0), Minus, Given(2))],
    },
    Story {
        question: "{name} has {0} {things}. {friend} has {1} {things} more than {name}. How many {things} do they have \
                   together?",
        steps: &[("{friend} has", Given(0), Plus, Given(1)), ("Together they have", Given(0), Plus, Found(0))],
    },
    Story {
        question: "{name} has {0} {things}. {friend} has {1} {things} fewer than {name}. How many {things} do they \
                   have together?",
        steps: &[("{friend} has", Given(0), Minus, Given(1)), ("Together they have", Given(0), Plus, Found(0))],
    },
    Story {
        question: "A ticket costs {0} dollars. {name} buys {1} tickets and pays with {2} dollars. How many dollars \
                   does {name} get back?",
        steps: &[("The tickets cost", Given(0), Times, Given(1)), ("{name} gets back", Given(2), Minus, Found(0))],
    },
    Story {
        question: "{name} puts {0} {things} into a box and {friend} puts {1} more into it. They share all of them \
                   equally among {2} children. How many {things} does each child get?",
        steps: &[("The box has", Given(0), Plus, Given(1)), ("Each child gets", Found(0), Over, Given(2))],
    },
    Story {
        question: "On {name}'s farm there are {0} hens and {1} cows. How many legs do these animals have together?",
        steps: &[
            ("The hens have", Given(0), Times, Fixed(2)),
            ("The cows have", Given(1), Times, Fixed(4)),
            ("Together", Found(0), Plus, Found(1)),
        ],
    },
    Story {
        question: "There are {1} {things} in a pack. {name} buys {0} packs and {friend} buys {2} packs. How many \
                   {things} do they buy together?",
        steps: &[
            ("{name} buys", Given(0), Times, Given(1)),
            ("{friend} buys", Given(2), Times, Given(1)),
            ("Together", Found(0), Plus, Found(1)),
        ],
    },
    Story {
        question: "{name} wants {0} {things} and has {1} of them. A shop sells them in packs of {2}. How many packs \
                   does {name} still need?",
        steps: &[("{name} still needs", Given(0), Minus, Given(1)), ("The packs are", Found(0), Over, Given(2))],
    },
];

/// Problems of one or two steps.
pub const MAWPS: [Story; 10] = [
    Story {
        question: "{name} has {0} {things} and buys {1} more. How many {things} does {name} have now?",
        steps: &[("{name} has", Given(0), Plus, Given(1))],
    },
    Story {
        question: "There were {0} {things} in a basket. {name} took {1} of them. How many {things} are left in the \
                   basket?",
        steps: &[("There are left", Given(0), Minus, Given(1))],
    },
    Story {
        question: "{name} has {0} boxes with {1} {things} in each of them. How many {things} does {name} have?",
        steps: &[("{name} has", Given(0), Times, Given(1))],
    },
    Story {
        question: "{name} shares {0} {things} equally among {1} children. How many {things} does each child get?",
        steps: &[("Each child gets", Given(0), Over, Given(1))],
    },
    Story {
        question: "{name} found {0} {things} and {friend} found {1}. How many more {things} did {name} find than \
                   {friend}?",
        steps: &[("{name} found more", Given(0), Minus, Given(1))],
    },
    Story {
        question: "{name} needs {0} {things} and has {1} of them. How many {things} does {name} still need?",
        steps: &[("{name} still needs", Given(0), Minus, Given(1))],
    },
    Story {
        question: "{name} had {0} {things}, gave {1} of them to {friend} and then bought {2} new ones. How many \
                   {things} does {name} have now?",
        steps: &[("{name} kept", Given(0), Minus, Given(1)), ("Now {name} has", Found(0), Plus, Given(2))],
    },
    Story {
        question: "{name} buys {0} bags of {1} {things} and loses {2} of the {things}. How many {things} are left?",
        steps: &[("The bags hold", Given(0), Times, Given(1)), ("There are left", Found(0), Minus, Given(2))],
    },
    Story {
        question: "A shelf holds {0} red {things} and {1} blue {things}. {name} puts {2} white ones beside them. How \
                   many {things} are on the shelf?",
        steps: &[("Red and blue are", Given(0), Plus, Given(1)), ("With the white ones", Found(0), Plus, Given(2))],
    },
    Story {
        question: "{name} collects {0} {things} on Monday and {1} on Tuesday, and makes {2} equal piles of them. How \
                   many {things} are in a pile?",
        steps: &[("{name} collects", Given(0), Plus, Given(1)), ("Each pile has", Found(0), Over, Given(2))],
    },
];

/// Problems of one step, with a number that does not matter.
pub const SVAMP: [Story; 10] = [
    Story {
        question: "{name} has {0} {things} and {1} {others}. {name} buys {2} more {things}. How many {things} does \
                   {name} have now?",
        steps: &[("{name} has", Given(0), Plus, Given(2))],
    },
    Story {
        question: "There are {0} {things} and {1} {others} on a table. {name} takes {2} {others} away. How many \
                   {others} are left on the table?",
        steps: &[("There are left", Given(1), Minus, Given(2))],
    },
    Story {
        question: "{name} puts {0} {things} into each of {1} boxes and leaves {2} {others} on the floor. How many \
                   {things} are in the boxes?",
        steps: &[("The boxes hold", Given(0), Times, Given(1))],
    },
    Story {
        question: "{name} lives at number {0} and gives {1} {things} to {2} friends, the same number to each. How many \
                   {things} does each friend get?",
        steps: &[("Each friend gets", Given(1), Over, Given(2))],
    },
    Story {
        question: "{name} sold {0} {things} on Monday, {1} on Tuesday and {2} on Friday. How many more {things} did \
                   {name} sell on Monday than on Friday?",
        steps: &[("{name} sold more", Given(0), Minus, Given(2))],
    },
    Story {
        question: "Bus number {0} carries {1} people. At a stop {2} people get off. How many people are still on the \
                   bus?",
        steps: &[("On the bus are", Given(1), Minus, Given(2))],
    },
    Story {
        question: "{name} walks up to floor {0} with {1} bags. There are {2} {things} in each bag. How many {things} \
                   does {name} carry?",
        steps: &[("{name} carries", Given(1), Times, Given(2))],
    },
    Story {
        question: "{name} made {0} {things} for {1} friends and {2} {things} for the neighbors. How many {things} did \
                   {name} make?",
        steps: &[("{name} made", Given(0), Plus, Given(2))],
    },
    Story {
        question: "{name} has {0} {things} and {friend} has {1} {others}. They lay out the {things} in rows of {2}. \
                   How many rows of {things} are there?",
        steps: &[("There are", Given(0), Over, Given(2))],
    },
    Story {
        question: "{name} paid {0} dollars for {1} {things} and then got {2} {things} as a gift. How many {things} \
                   does {name} have?",
        steps: &[("{name} has", Given(1), Plus, Given(2))],
    },
];
